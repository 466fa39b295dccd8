"""What people and programs may ask of the daemon, and how."""
