"""Crontabs: the text becomes lines, as cron reads them, and then Jobs or problems. Pure.

`table` reads the lines; `jobs` makes jobs that do what cron would do. Begin with `table`.
"""
