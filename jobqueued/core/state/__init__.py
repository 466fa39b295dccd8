"""The state of the scheduler, the moves that keep it consistent, and the changes that must be saved.

`turn` is what a decision may change: the state, its instant and the commands that it makes. Begin with
`scheduler_state`.
"""
