"""Users' commands that hold locks in the queue (jobqueuectl with-lock).

`fleet_clients` handles the fleet's locks. Begin with `lock_clients`.
"""
