"""The bytes of a job file become Jobs, or Problems with line and column. Pure.

The bytes become a tree (`tree/`), whose values get types (`types/`) from the table of keys (`keys/`). `reader` puts
this together. Begin with `reader`.
"""
