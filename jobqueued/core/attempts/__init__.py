"""Attempts from launch to end, and the runs that a lost fleet host did not finish.

`attempts` handles every report of a supervisor or the launcher. Begin with `attempts`.
"""
