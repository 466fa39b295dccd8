"""Services of the kernel and the init system: timers, pressure, limits, signals, the journal, sd_notify.

`messages` is the table of all log lines of the daemon. Begin with `messages`.
"""
