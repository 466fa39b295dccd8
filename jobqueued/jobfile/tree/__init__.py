"""A YAML file and its drop-ins as one tree of nodes with line and column.

`yamlparser` is the only file that imports PyYAML. Pure. Begin with `yamltext`.
"""
