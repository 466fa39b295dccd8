"""The queue: the runs that may start, their order, and their CPUs and units. Pure.

`admission` makes one ordered pass over the queue; `locks` grants everything that a run needs, or nothing. Begin with
`admission`.
"""
