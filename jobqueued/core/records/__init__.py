"""The record of a run, and the values that a job's records leave: usual times, counts, the last success.

`lifecycle` is the table of a run's states. Begin with `lifecycle`.
"""
