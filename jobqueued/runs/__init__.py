"""Live attempts: their directories, their launcher, their recovery."""
