"""The spool of users' crontabs, which supervisors read and write for the scheduler.

A table is always complete, whichever process is killed. Begin with `spool`.
"""
