"""Which runs may start, which goes next, and on which CPUs and units. Pure.

`admission` makes one ordered pass over the queue; `locks` grants everything that a run needs, or nothing. Begin with
`admission`.
"""
