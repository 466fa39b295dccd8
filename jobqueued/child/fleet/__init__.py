"""The agent, which connects the scheduler of a host with its fleet's etcd; and jobqueue-fence (docs/fleet.md).

`conversation` decides what is asked and answered; `uplink` has the threads that do it. Claims, skips and ends are
transactions, each in its own file. Only the standard library is used. Begin with `conversation`.
"""
