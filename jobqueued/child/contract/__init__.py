"""Code shared by the scheduler and the small programs: documents, protocol lines, atomic files, trust in paths.

An older launcher or daemon may still read the formats defined here. Begin with `wire`.
"""
