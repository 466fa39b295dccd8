"""Runs on Slurm: the local helper of each, and the files that go with its job to a node."""
