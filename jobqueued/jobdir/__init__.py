"""The watched directories of job files and cron's tables.

`inbox` collects changed names, `watch` reads the files, `acceptance` keeps a refused file's last good jobs. Begin with
`watch`.
"""
