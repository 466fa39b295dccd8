"""The processes of a run: found in /proc, grouped in cgroups, signalled as a tree.

Supervisors and the scheduler's recovery use them. Begin with `tree`.
"""
