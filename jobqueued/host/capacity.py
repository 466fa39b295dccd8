"""Capacity of the host: what runs may use in all."""

from __future__ import annotations

import os

from jobqueued.child.documents import SLURM_PATH


def host_has() -> tuple[list[int], int, bool]:
    """The CPUs that this process may use, by number, the bytes of memory of the host, and if it can submit to Slurm."""
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1])  # MemTotal, in KiB
    has_slurm = any(os.access(f"{folder}/sbatch", os.X_OK) for folder in SLURM_PATH.split(":"))
    return sorted(os.sched_getaffinity(0)), total << 10, has_slurm
