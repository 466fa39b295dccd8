"""The queue: the runs that may start, their order, their CPUs and numbered units. Pure.

`waiting` keeps the order of the queue, `admission` makes one pass over the queue, and `locks` grants a run all its
claims or none. Begin with `admission`.
"""
