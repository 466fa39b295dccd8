"""One run: obstacles before the queue, skips, its end, and retries.

`eligibility` decides whether a due run may join the queue; `completion` ends it. Begin with `eligibility`.
"""
