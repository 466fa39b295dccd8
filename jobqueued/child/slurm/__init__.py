"""Runs on Slurm: the helper that stands for one of them, and what goes with its job to a node."""
