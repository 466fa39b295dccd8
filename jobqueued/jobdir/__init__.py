"""The watched directories of job files and cron's tables.

`inbox` collects changed names, `watch` reads the files, `acceptance` keeps the last good jobs of a refused file. Begin
with `watch`.
"""
