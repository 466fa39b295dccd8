"""The agent, which connects a host's scheduler with the fleet's etcd, and jobqueue-fence (docs/fleet.md).

`conversation` handles requests and answers. `uplink` has the threads that call etcd. Separate files contain the
transactions for claims, skips and ends. Only the standard library is used. Begin with `conversation`.
"""
