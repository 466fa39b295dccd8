"""The agent, which connects a host's scheduler with its fleet's etcd, and jobqueue-fence (docs/fleet.md).

`conversation` decides about requests and answers. `uplink` has the threads that call etcd. Claims, skips and ends are
transactions in separate files. Only the standard library is used. Begin with `conversation`.
"""
