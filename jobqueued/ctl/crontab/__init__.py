"""crontab(1) for users, and the import of other schedulers' files.

`crontab` has the options and exit statuses of Debian's. Begin with `crontab`.
"""
