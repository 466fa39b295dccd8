"""Our due times beside the real Debian cron and cronie under a faked clock: `python -m tests.realcron`."""
