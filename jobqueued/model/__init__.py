"""The basic classes: jobs, occurrences, runs, users, submissions, and the scheduler's events and commands.

Data flows in this order: Job → Occurrence → Run → Record. Pure. Begin with `job`.
"""
