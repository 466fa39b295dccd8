"""The queue: who may run, who goes next, and on which units.  Pure."""
