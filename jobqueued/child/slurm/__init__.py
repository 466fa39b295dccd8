"""Runs on Slurm: the local helper of each, and the files that go with its job to a node (docs/slurm.md).

`main` is the helper: it submits a job, follows it and ends it. Begin with `main`.
"""
