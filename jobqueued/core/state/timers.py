"""Timers: wall or monotonic instants when subjects must be rechecked."""

from __future__ import annotations

from collections.abc import Container
from enum import Enum, auto
from heapq import heapify, heappop, heappush

from jobqueued.model.job import Now
from jobqueued.model.run import RunId


class HostTimer(Enum):
    """The host's timers: the end of its hold, and the end of pressure on it."""

    HOLD = auto()
    PRESSURE = auto()


Subject = RunId | str | HostTimer
"""A run, a job ID, or a timer of the host."""
_Heap = list[tuple[int, int, Subject]]

_MANY = 1000


class Timers:
    """The instants at which to check subjects. A timer that is no longer needed still fires, without effect."""

    def __init__(self) -> None:
        self._wall: _Heap = []
        self._mono: _Heap = []
        self._set = 0
        self._many = _MANY

    def at(self, wall: int, subject: Subject) -> None:
        """Set a timer that checks a subject at this wall instant (ns)."""
        self._push(self._wall, wall, subject)

    def after(self, mono: int, subject: Subject) -> None:
        """Set a timer that checks a subject at this monotonic instant (ns)."""
        self._push(self._mono, mono, subject)

    def _push(self, heap: _Heap, time: int, subject: Subject) -> None:
        self._set += 1
        heappush(heap, (time, self._set, subject))

    def forget(self, alive: Container[RunId]) -> None:
        """Drop the timers of ended runs if there are too many timers."""
        if len(self) <= self._many:
            return
        for heap in (self._wall, self._mono):
            heap[:] = [timer for timer in heap if not isinstance(timer[2], RunId) or timer[2] in alive]
            heapify(heap)
        self._many = 2 * len(self) + _MANY

    def due(self, now: Now, limit: int) -> list[Subject]:
        """Remove and return at most `limit` subjects to check now, each once, in order of time."""
        found: dict[Subject, None] = {}
        for heap, time in ((self._wall, now.wall), (self._mono, now.mono)):
            while heap and heap[0][0] <= time and len(found) < limit:
                found[heappop(heap)[2]] = None
        return list(found)

    def soonest(self, now: Now) -> int | None:
        """Return the earliest timer as a wall instant, or None if no timer is set."""
        wall = self._wall[0][0] if self._wall else None
        if not self._mono:
            return wall
        after = now.wall + max(0, self._mono[0][0] - now.mono)
        return after if wall is None else min(wall, after)

    def __len__(self) -> int:
        return len(self._wall) + len(self._mono)
