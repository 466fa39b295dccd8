"""jobqueuectl doctor: checks of this host, the daemon's processes and the fleet.

Each check yields findings (`diagnosis`). Begin with `doctor`.
"""
