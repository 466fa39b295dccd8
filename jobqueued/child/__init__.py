"""Launcher, supervisors and the other small programs.

These files run by path with ``python -I -S``. At start they import a short list of standard modules, and nothing later,
because an upgrade may replace their package meanwhile. They never import the rest of jobqueued.
"""
