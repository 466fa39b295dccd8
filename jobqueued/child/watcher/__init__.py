"""The watcher: a process of a user that waits for files as that user, and what looks for them on either side."""
