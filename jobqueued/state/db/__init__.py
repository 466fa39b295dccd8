"""The format of state.db, and how the daemon opens, reads, writes and repairs it.

SQL is used only here and in a few queries of `state/`. Begin with `store`.
"""
