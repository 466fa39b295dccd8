"""Shared by the scheduler and the small programs: documents, wire lines, atomic files, trust in paths.

A change here changes a format that an older launcher or daemon still reads. Begin with `wire`.
"""
