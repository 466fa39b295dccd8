"""Deadlines after which runs are late or jobs overdue, and the runs whose times don't count for the usual times."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from jobqueued.model.job import Now
from jobqueued.model.run import RunId

Subject = TypeVar("Subject", RunId, str)
_FEW = 64


class Deadlines(Generic[Subject]):
    """One deadline for each subject; a deadline that was replaced or cleared has no effect."""

    def __init__(self) -> None:
        self._at: dict[Subject, int] = {}
        self._heap: list[tuple[int, Subject]] = []

    def __iter__(self) -> Iterator[Subject]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def set(self, subject: Subject, instant: int) -> None:
        """Set the instant of a subject."""
        if self._at.get(subject) == instant:
            return
        self._at[subject] = instant
        heappush(self._heap, (instant, subject))
        if len(self._heap) > 2 * len(self._at) + _FEW:
            self._heap = [(at, known) for known, at in self._at.items()]
            heapify(self._heap)

    def clear(self, subject: Subject) -> None:
        """Remove the instant of a subject."""
        self._at.pop(subject, None)

    def soonest(self) -> int | None:
        """Return the earliest deadline, or None if none is set."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, instant: int, limit: int) -> list[Subject]:
        """Remove and return at most `limit` subjects whose deadlines are not after `instant`."""
        found: list[Subject] = []
        while (soonest := self.soonest()) is not None and soonest <= instant and len(found) < limit:
            found.append(heappop(self._heap)[1])
            self.clear(found[-1])
        return found


class LatenessDeadlines:
    """The deadlines of runs (`runs`: monotonic, ns) and of expected jobs (`jobs`: wall, ns).

    A run in `held` waited for more than its turn: for a pause, a hold or a restart. A run in `set_back` existed when
    the clock was set or the host slept. The times of runs in `held` or `set_back` don't count for the usual times.
    """

    def __init__(self) -> None:
        self.runs = Deadlines[RunId]()
        self.jobs = Deadlines[str]()
        self.held = set[RunId]()
        self.set_back = set[RunId]()
        self._within: dict[RunId, int] = {}

    def wait(self, run: RunId, until: int, within: int) -> None:
        """Set a run's deadline `until` (monotonic, ns), which is the end of the time limit `within` (ns)."""
        self.runs.set(run, until)
        self._within[run] = within

    def forget(self, run: RunId) -> None:
        """Remove a run's deadline, so that it is never late."""
        self.runs.clear(run)
        self._within.pop(run, None)

    def end(self, run: RunId) -> None:
        """Forget a run that has ended."""
        self.forget(run)
        self.held.discard(run)
        self.set_back.discard(run)

    def over(self, mono: int, limit: int) -> list[tuple[RunId, int]]:
        """Remove and return at most `limit` runs whose deadlines have passed, each with its time limit `within`
        (ns).
        """
        return [(run, self._within.pop(run)) for run in self.runs.take(mono, limit)]

    def soonest(self, now: Now) -> int | None:
        """Return the earliest deadline as a wall instant, or None if none is set."""
        wall, mono = self.jobs.soonest(), self.runs.soonest()
        if mono is None:
            return wall
        after = now.wall + max(0, mono - now.mono)
        return after if wall is None else min(wall, after)
