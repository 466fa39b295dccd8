"""The types of values in YAML files: the values that each accepts, how it reads them, and its JSON Schema.

`refusal` writes the message about each value that is not accepted. Pure. Begin with `types`.
"""
