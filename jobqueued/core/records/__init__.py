"""Run records, and the values derived from a job's records: usual times, counts and the last success.

`lifecycle` is the table of a run's states. Begin with `lifecycle`.
"""
