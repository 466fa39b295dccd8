"""Small general helpers: text, instants, file names, problems in a file, shared equal values.

Every other folder may import them; they import only `child/contract`. Pure. Begin with `instants`.
"""
