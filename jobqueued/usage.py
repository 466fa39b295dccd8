"""What live runs use now, read from /proc only when somebody asks."""

from __future__ import annotations

import os

import psutil


def host_has() -> tuple[list[int], int]:
    """The numbers of the CPUs that this process may use, and the bytes of memory of the host."""
    return sorted(os.sched_getaffinity(0)), psutil.virtual_memory().total


def usage(pid: int) -> dict[str, float | int] | None:
    """CPU seconds, resident bytes, number of the processes of a job's tree, and whether the main one is stopped.

    None: it is gone.
    """
    try:
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
        stopped = main.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return None
    cpu, memory, processes = 0.0, 0, 0
    for process in family:
        try:
            with process.oneshot():
                times, resident = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            continue
        cpu += times.user + times.system + times.children_user + times.children_system
        memory += resident
        processes += 1
    return {"cpu": round(cpu, 3), "memory": memory, "processes": processes, "stopped": stopped}
