"""state.db: its format, how it is opened, written and read, and the handling of damage.

SQL is used only here and in a few queries of `state/`. Begin with `store`.
"""
