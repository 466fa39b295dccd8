"""The real Debian cron and jobqueued on one machine: what each starts, when and how, as one recorder writes it down."""
