"""The tables of keys, which define job files, jobqueued.yaml, their manual pages and the JSON Schema.

A key is described here and nowhere else. Pure. Begin with `keys`.
"""
