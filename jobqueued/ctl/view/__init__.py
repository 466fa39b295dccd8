"""Commands that show live and waiting runs.

One command a file. Begin with `status`.
"""
