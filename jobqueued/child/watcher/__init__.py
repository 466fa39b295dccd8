"""The watcher: a process that runs as a user, waits for files, and reports complete files.

The daemon uses `appearing` for files of the host's own jobs. Begin with `appearing`.
"""
