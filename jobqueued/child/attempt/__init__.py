"""The life of one attempt, from its claim to its record.

`attempt_life` is the table of its states. `runner` is the only interface to the place where the command runs: this host
or Slurm. Begin with `attempt`.
"""
