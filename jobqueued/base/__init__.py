"""Small helpers without a subject of their own: text, instants, file names, problems of a file, equal values kept once.

Every other folder may import them; they import only `child/contract`. Pure. Begin with `instants`.
"""
