"""The life of an attempt, from its claim to its record.

`attempt_life` has the table of states. `runner` is the only interface to the command, which runs on this host or on
Slurm. Begin with `attempt`.
"""
