"""A supervisor's reports about an attempt: output, resource use, the record, marks in R, and the control socket.

`marks` writes the files in R. Begin with `record`.
"""
