"""The control socket's varlink interface, its wire format, and the callers' identity and rights.

`interface` describes every method. `declaration` has the decorator that declares a method's function and rule. Begin
with `interface`.
"""
