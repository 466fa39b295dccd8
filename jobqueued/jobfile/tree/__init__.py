"""YAML as a tree of nodes with line and column, over a file and its drop-ins.

`yamlparser` is the only file that imports PyYAML. Pure. Begin with `yamltext`.
"""
