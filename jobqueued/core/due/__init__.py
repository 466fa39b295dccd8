"""Occurrences, and the jobs' clocks that make them due, including gaps and steps of the system clock.

`clock` handles the due times between a job's cursor and now. `occurrences` turns each due time into a run or a skip,
and handles all other triggers: a boot, an event, a file, the end of a job, a user. Begin with `clock`.
"""
