"""Counters since the start, values that are read on request, and their text format (docs/metrics.md). Pure.

`families` has the names, types and meanings. Begin with `families`.
"""
