"""Metrics: counters, values read on request, and their text format (pure; docs/metrics.md)."""
