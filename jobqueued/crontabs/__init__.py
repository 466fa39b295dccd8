"""Crontabs: the text becomes lines, as in cron, and the lines become Jobs or problems. Pure.

`table` reads the lines; `jobs` makes jobs that behave as in cron. Begin with `table`.
"""
