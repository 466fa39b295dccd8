"""Metrics: what is counted, what is read when somebody asks, and how it is written (pure; docs/metrics.md)."""
