"""The reports of a supervisor about an attempt: output, resource use, the record, marks in R, and the control socket.

`marks` lists the files of R that both sides read. Begin with `record`.
"""
