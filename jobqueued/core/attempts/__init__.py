"""Attempts, from launch to end, and the runs of a fleet host that was lost.

`attempts` handles every report of a supervisor or the launcher. Begin with `attempts`.
"""
