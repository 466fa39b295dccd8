"""Compare due times with records, without the code that decided about them.

`timeline` computes what was due from the recorded changes, and `comparison` finds missing and double records. `past`
explains why a job did not run at an instant. Pure. Begin with `comparison`.
"""
