"""The types of values in YAML files: the accepted values, how each type reads them, and its JSON Schema.

`refusal` writes the message about each refused value. Pure. Begin with `types`.
"""
