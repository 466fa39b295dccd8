"""Due times become occurrences: the clock of each job, including gaps and steps of the system clock.

`clock` walks from a job's cursor to the present. `occurrences` turns each due time into a run or a skip, and handles
all other triggers: a boot, an event, a file, the end of a job, a user. Begin with `clock`.
"""
