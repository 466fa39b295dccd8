"""Small general helpers: text, instants, file names, problems in a file, shared equal values.

Every other folder may import these helpers; the helpers import only `child/contract`. Pure. Begin with `instants`.
"""
