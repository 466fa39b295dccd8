"""The varlink interface of the control socket, its wire format, and the identity and rights of callers.

`interface` describes every method. `declaration` has the decorator for the function and the rule of a method. Begin
with `interface`.
"""
