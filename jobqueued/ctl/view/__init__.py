"""Commands that show live and waiting runs.

Begin with `status`.
"""
