"""The watcher: a process that runs as a user, waits for files, and reports complete files.

The daemon uses `appearing` for the files that the host's own jobs wait for. Begin with `appearing`.
"""
