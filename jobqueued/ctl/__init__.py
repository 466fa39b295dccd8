"""jobqueuectl, the command line client: one file per command; `client` calls the daemon, `terminal` prints."""
