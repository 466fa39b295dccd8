"""state.db: its format, how it is opened, written and read, and what to do if it is damaged.

Only this folder speaks SQL. Begin with `store`.
"""
