"""The queue: the runs that may start, their order, their CPUs and numbered units.  Pure.

`admission` makes one ordered pass over the queue; `locks` grants all claims of a run, or none. Begin with `admission`.
"""
