"""Runs on Slurm: the local helper, and the files that it sends with its job to a node (docs/slurm.md).

`main` is the helper, which submits, follows and ends a job. Begin with `main`.
"""
