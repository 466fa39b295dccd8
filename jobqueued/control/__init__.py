"""The control socket: listening, connections, and the metrics file for other programs.

`protocol/` is the language of the socket and the rights of callers, `calls/` answers each method, `views/` makes plain
data of jobs and runs. Begin with `server`.
"""
