"""The control socket: listening, connections, and the metrics file for other programs.

`protocol/` is the language of the socket and who may call what, `calls/` answers each method, `views/` makes plain data
of jobs and runs. Begin with `server`.
"""
