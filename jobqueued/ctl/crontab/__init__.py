"""crontab(1) for users, and the import of other schedulers' files.

Begin with `crontab`.
"""
