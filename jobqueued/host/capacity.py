"""Capacity of the host: what runs may use in all."""

from __future__ import annotations

import os


def host_has() -> tuple[list[int], int]:
    """The numbers of the CPUs that this process may use, and the bytes of memory of the host."""
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1])  # MemTotal, in KiB
    return sorted(os.sched_getaffinity(0)), total << 10
