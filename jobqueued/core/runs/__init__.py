"""One run: what keeps it from the queue, whether it is skipped, how it ends, whether it is tried again.

`eligibility` decides whether a due run may join the queue; `completion` ends it. Begin with `eligibility`.
"""
