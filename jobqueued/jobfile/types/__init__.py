"""The types of values in YAML files: what each accepts, how it is read, and its JSON Schema.

`refusal` words every value that is not accepted. Pure. Begin with `types`.
"""
