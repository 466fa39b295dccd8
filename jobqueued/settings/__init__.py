"""The daemon's paths and settings, from the command line and /etc/jobqueued.yaml.

`instance` has the commands for remedies, for the system's daemon or a user's own instance. Begin with `settings`.
"""
