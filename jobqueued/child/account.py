"""The account of an attempt: the figures of its cgroup; where it has none, samples and the rusage of all that was
reaped."""

from __future__ import annotations

import resource

from jobqueued.child import tree
from jobqueued.child.cgroup import Cgroup
from jobqueued.child.documents import Figures

NEVER = float("inf")
_FIRST, _LONGEST, _WATCHED = 0.1, 60.0, 1.0
_DENSITY = 4
"""No time between two samples is longer than that part of the run's age: a long run costs no more than a short one."""
_BLOCK = 512
"""The unit of ru_inblock and ru_oublock, whatever the file system's is (getrusage(2), kernel/sys.c)."""


class Account:
    """Of one attempt.  `at`: when `sample` is to be called (monotonic)."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup
        self.at = NEVER
        self._began = self._last = self._area = 0.0
        self._longest = _LONGEST
        self._memory = self._peak = self._tasks_peak = 0
        self._orphans: list[resource.struct_rusage] = []

    def begin(self, now: float, *, watched: bool) -> None:
        """It has started.  `watched`: the kernel does not look after its limit of memory, so once a second at least."""
        self._began = self._last = now
        self._longest = _WATCHED if watched else _LONGEST
        self.at = now + _FIRST

    def sample(self, now: float) -> int:
        """The bytes of memory that it has."""
        used, tasks = self._cgroup.now() or tree.usage()
        before = self._memory if self._area else used
        self._area += (before + used) / 2 * (now - self._last)
        self._memory, self._last = used, now
        self._peak, self._tasks_peak = max(self._peak, used), max(self._tasks_peak, tasks)
        self.at = now + min(max(_FIRST, (now - self._began) / _DENSITY), self._longest)
        return used

    def so_far(self) -> Figures:
        """The figures while it lives: by samples, and by its cgroup."""
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
        """One of its processes that was reaped apart from the main one."""
        self._orphans.append(orphan)

    def figures(self, main: resource.struct_rusage) -> Figures:
        """Seconds, bytes, tasks; None: not known.  `main`: the rusage of its main process."""
        return {**self._without_cgroup(main), "memory_mean": self._mean(), **self._cgroup.figures()}

    def _without_cgroup(self, main: resource.struct_rusage) -> Figures:
        """The peak is of all of it if a sample is the highest, else of its largest process."""
        of_all = [main, *self._orphans]
        peak, floor = _largest(of_all)
        peak = max(peak or 0, self._peak) or None
        return {
            "cpu_user": round(sum(each.ru_utime for each in of_all), 6),
            "cpu_system": round(sum(each.ru_stime for each in of_all), 6),
            "memory_peak": peak, "memory_peak_below": floor if peak is None else None,
            "throttled": None, "tasks_peak": self._tasks_peak or None,
            "io_read": sum(each.ru_inblock for each in of_all) * _BLOCK,
            "io_write": sum(each.ru_oublock for each in of_all) * _BLOCK,
        }  # fmt: skip


def _largest(processes: list[resource.struct_rusage]) -> tuple[int | None, int]:
    """The peak of the largest process, and that of this one, in bytes.

    It starts from ours, so where it did not exceed that nothing else is known (None).
    """
    peak, floor = max(usage.ru_maxrss for usage in processes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024 if peak > floor else None, floor * 1024
