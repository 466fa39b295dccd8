"""A run's processes: found in /proc, grouped in cgroups, and signalled as a tree.

Supervisors and the scheduler's recovery use these modules. Begin with `tree`.
"""
