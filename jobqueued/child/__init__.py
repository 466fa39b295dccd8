"""The launcher, its supervisors and other small programs, which use only the standard library.

The launcher starts supervisors and gives each attempt to one of them. Nothing here imports the rest of jobqueued.
`contract/` has the code that the scheduler and these programs share. Begin with `launcher`.
"""
