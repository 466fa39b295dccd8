"""Mutants of the core: small changes of `queue/` and `core/`, which tests should notice (docs/dev/mutants.md)."""
