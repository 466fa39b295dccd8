"""The varlink interface of the control socket, its wire format, who the caller is, and what a caller may do.

`interface` declares every method; `declaration` is the decorator that ties a function to one of them, with its rule.
Begin with `interface`.
"""
