"""Records and metrics for other programs: OTLP spans, Chrome traces, Prometheus.

`run_spans` makes spans of a record. Begin with `export`.
"""
