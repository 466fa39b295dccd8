"""The tables of keys, of which job files, jobqueued.yaml, the manual pages and the JSON Schema are made.

A key is described here and nowhere else. Pure. Begin with `keys`.
"""
