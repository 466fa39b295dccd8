"""The watched directories, from which job files and cron's tables come.

`inbox` collects changed names, `watch` reads the files, `acceptance` keeps the last good jobs of a refused file. Begin
with `watch`.
"""
