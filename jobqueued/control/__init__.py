"""The control socket and the metrics file, for other programs.

`protocol/` has the socket's protocol and the callers' rights. `calls/` answers the methods. `views/` converts jobs and
runs to plain data. Begin with `server`.
"""
