"""Mutants of the core: small changes of `queue/` and `core/`, each of which a test should notice (docs/dev/mutants.md)."""
