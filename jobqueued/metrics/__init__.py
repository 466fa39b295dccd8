"""Counters since the start, values read on request, and their text format (docs/metrics.md). Pure.

`families` has the names, types and meanings. Begin with `families`.
"""
