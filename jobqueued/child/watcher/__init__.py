"""The watcher: a process of a user that waits for files, and reports those that are complete.

The daemon uses `appearing` for files of the host's own jobs. Begin with `appearing`.
"""
