"""Services of the kernel and the init system: timers, pressure, limits, signals, the journal, sd_notify.

`messages` is the table of every line that the daemon logs. Begin with `messages`.
"""
