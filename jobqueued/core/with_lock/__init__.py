"""Users' commands that hold locks in the queue (jobqueuectl with-lock).

`fleet_clients` handles locks of the fleet. Begin with `lock_clients`.
"""
