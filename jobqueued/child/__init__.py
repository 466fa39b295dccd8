"""The small world: launcher and supervisors.

These files run by path with ``python -I -S``, import a fixed short list of standard modules at start and nothing later
(their package may be replaced under them by an upgrade), and never import the rest of jobqueued.
"""
