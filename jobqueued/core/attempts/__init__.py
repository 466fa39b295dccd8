"""Attempts, from launch to end; and those of a host of the fleet that was lost.

`attempts` handles every report of a supervisor or the launcher. Begin with `attempts`.
"""
