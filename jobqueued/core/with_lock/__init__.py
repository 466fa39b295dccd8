"""Commands of users that take part in the locks (jobqueuectl with-lock).

`fleet_clients` is for locks that the whole fleet shares. Begin with `lock_clients`.
"""
