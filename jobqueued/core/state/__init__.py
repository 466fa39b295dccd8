"""The scheduler's state, the functions that keep it consistent, and the changes that must be saved.

`turn` is one decision: the state that it changes, its instant and its commands. Begin with `scheduler_state`.
"""
