"""The launcher, its supervisors and the other small programs; they use the standard library only.

This folder has the two main programs. The launcher starts a supervisor for each attempt and gives it orders. Nothing
here imports the rest of jobqueued. What the scheduler and these programs share is in `contract/`. Begin with
`launcher`.
"""
