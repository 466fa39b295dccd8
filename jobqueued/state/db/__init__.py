"""state.db: its format, how the daemon opens, writes and reads it, and the handling of damage.

SQL is used only here and in a few queries of `state/`. Begin with `store`.
"""
