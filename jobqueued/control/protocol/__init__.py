"""The varlink interface of the control socket, its wire format, and the identity and rights of callers.

`interface` declares every method; `declaration` is the decorator that ties a function to one of them, with its rule.
Begin with `interface`.
"""
