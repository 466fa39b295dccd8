"""The watcher, a process of a user that waits for files; the daemon uses the same code for files of the host's jobs."""
