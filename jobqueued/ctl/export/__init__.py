"""Records and metrics for other programs: OTLP spans, Chrome traces, Prometheus.

`run_spans` converts a record to spans. Begin with `export`.
"""
