"""The record of a run, and the values that are derived from a job's records: usual times, counts, the last success.

`lifecycle` is the table of a run's states. Begin with `lifecycle`.
"""
