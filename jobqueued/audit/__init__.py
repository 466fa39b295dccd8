"""The audit compares due times with records, independently of the scheduler's code.

`timeline` computes due times from the recorded changes, and `comparison` finds missing and double records. `past`
explains why a job was not running at a given instant. Pure. Begin with `comparison`.
"""
