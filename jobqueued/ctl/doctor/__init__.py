"""jobqueuectl doctor: checks of this host, the daemon's processes and the fleet.

Each check gives a `diagnosis`. Begin with `doctor`.
"""
