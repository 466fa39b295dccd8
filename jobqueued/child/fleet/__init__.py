"""The agent, which connects the scheduler of a host with its fleet's etcd; and jobqueue-fence (docs/fleet.md).

`conversation` decides on requests and answers; `uplink` has the threads that carry them out. Claims, skips and ends are
transactions, each in its own file. Only the standard library is used. Begin with `conversation`.
"""
