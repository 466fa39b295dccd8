"""The daemon's paths and settings, from the command line and /etc/jobqueued.yaml.

`instance` names the right daemon in remedies: the system's or a user's own. Begin with `settings`.
"""
