"""Due times become occurrences: the clock of each job, also after gaps and steps of the system clock.

`clock` walks from a job's cursor to the present; `occurrences` makes a run or a skip of each due time. Begin with
`clock`.
"""
