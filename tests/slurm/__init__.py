"""Runs on Slurm, beside Debian's slurmctld and three slurmd, which the tests start themselves (docs/slurm.md)."""
