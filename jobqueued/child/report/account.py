"""An attempt's resource use, from its cgroup, or from samples and rusage if it has no cgroup."""

from __future__ import annotations

import resource

from jobqueued.child.contract.documents import Figures
from jobqueued.child.processes import tree
from jobqueued.child.processes.cgroup import Cgroup

NEVER = float("inf")
_FIRST, _LONGEST, _WATCHED = 0.1, 60.0, 1.0
_DENSITY = 4
"""The longest pause between two samples is the run's age divided by this number, so that long runs need few samples."""
_BLOCK = 512
"""Unit (bytes) of ru_inblock and ru_oublock on every file system (getrusage(2), kernel/sys.c)."""


class AttemptAccount:
    """An attempt's resource use. `at`: when to call `sample` next (CLOCK_MONOTONIC, s)."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup
        self.at = NEVER
        self._began = self._last = self._area = 0.0
        self._longest = _LONGEST
        self._memory = self._peak = self._tasks_peak = 0
        self._orphans: list[resource.struct_rusage] = []

    def begin(self, now: float, *, watched: bool) -> None:
        """Start to measure. `watched`: the kernel does not limit memory, so sample at least once a second."""
        self._began = self._last = now
        self._longest = _WATCHED if watched else _LONGEST
        self.at = now + _FIRST

    def sample(self, now: float) -> int:
        """Take a sample. Return the bytes of memory that the attempt uses."""
        used, tasks = self._cgroup.now() or tree.usage()
        before = self._memory if self._area else used
        self._area += (before + used) / 2 * (now - self._last)
        self._memory, self._last = used, now
        self._peak, self._tasks_peak = max(self._peak, used), max(self._tasks_peak, tasks)
        self.at = now + min(max(_FIRST, (now - self._began) / _DENSITY), self._longest)
        return used

    def so_far(self) -> Figures:
        """Return a live attempt's figures, from samples and the cgroup."""
        sampled: Figures = {
            "memory_peak": self._peak or None,
            "memory_mean": self._mean(),
            "tasks_peak": self._tasks_peak or None,
        }
        return {**sampled, **self._cgroup.figures()}

    def _mean(self) -> int | None:
        lived = self._last - self._began
        return round(self._area / lived) if lived else None

    def add(self, orphan: resource.struct_rusage) -> None:
        """Add the rusage of a reaped process, except the main process."""
        self._orphans.append(orphan)

    def figures(self, main: resource.struct_rusage) -> Figures:
        """Return seconds, bytes and tasks. None means unknown. `main`: the rusage of the main process."""
        return {**self._without_cgroup(main), "memory_mean": self._mean(), **self._cgroup.figures()}

    def _without_cgroup(self, main: resource.struct_rusage) -> Figures:
        """Return figures from rusage and samples. The memory peak comes from a sample or from the largest process."""
        of_all = [main, *self._orphans]
        peak, floor = _largest(of_all)
        peak = max(peak or 0, self._peak) or None
        return {
            "cpu_user": round(sum(each.ru_utime for each in of_all), 6),
            "cpu_system": round(sum(each.ru_stime for each in of_all), 6),
            "memory_peak": peak,
            "memory_peak_below": floor if peak is None else None,
            "throttled": None,
            "tasks_peak": self._tasks_peak or None,
            "io_read": sum(each.ru_inblock for each in of_all) * _BLOCK,
            "io_write": sum(each.ru_oublock for each in of_all) * _BLOCK,
        }


def _largest(processes: list[resource.struct_rusage]) -> tuple[int | None, int]:
    """Return the memory peaks of the largest process and this supervisor, in bytes.

    A process inherits our peak. If the process's peak did not exceed ours, it is unknown (None).
    """
    peak, floor = max(usage.ru_maxrss for usage in processes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024 if peak > floor else None, floor * 1024
