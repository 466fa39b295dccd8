"""A single run: its obstacles before the queue, skip, retries and end.

`eligibility` decides whether a due run may join the queue; `completion` ends it. Begin with `eligibility`.
"""
