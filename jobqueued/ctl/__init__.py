"""jobqueuectl, the command line client: one command a file; `client` asks the daemon, `terminal` shows the answer."""
