"""Due times become occurrences: the clock of each job, including gaps and steps of the system clock.

`clock` walks from a job's cursor to the present; `occurrences` turns each due time into a run or a skip. Begin with
`clock`.
"""
