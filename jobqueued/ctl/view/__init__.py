"""Commands that show what runs and what waits.

One command a file. Begin with `status`.
"""
