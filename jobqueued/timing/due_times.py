"""The next start times of all jobs, in a heap. A stale entry is removed when it reaches the top."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from jobqueued.base.instants import SECOND
from jobqueued.model.job import Job

FIRST, MOST = 2, 64
"""Numbers of jobs that `take` returns: FIRST in the first call, and more in each later call while many are due, up to
MOST.
"""

_Entry = tuple[int, int, str]


class DueTimes:
    """The next start of each job that has one: its next due time plus its delay within `spread`."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._next: dict[str, _Entry] = {}
        self._resting = set[str]()
        self._passed_over, self._jumped, self._pace = (0, 0), (0, 0), FIRST

    def set(self, job: Job, cursor: int, settled: int = 0, *, rests: bool = False) -> None:
        """Set a job's next start, for the first due time after `cursor` that is not `settled`.

        If the job `rests`, its next start can be read, but the job does not become due.
        """
        due = job.next_after(cursor, settled) if job.enabled else None
        if due is None:
            self.clear(job.id)
            return
        entry = self._next[job.id] = due + job.offset, -job.priority, job.id
        if rests:
            self._resting.add(job.id)
        else:
            self._resting.discard(job.id)
            heappush(self._heap, entry)
        self._tidy()

    def pass_over(self, since: int, to: int) -> None:
        """Record that the clock jumped from one instant to another.

        Combine this jump with the previous jump if they overlap or follow each other directly.
        """
        before, end = self._passed_over
        self._passed_over = before if since <= end < to else since, to

    def jump(self, since: int, to: int) -> None:
        """Record that the clock was set from `since` to `to`; no time passed."""
        self._jumped = since, to
        if since < to:
            self.pass_over(since, to)

    def jumped(self, job: Job, due: int) -> bool:
        """Return whether the last clock jump passed over a job's start for the due time `due`."""
        since, to = self._jumped
        return since < due + job.offset <= to

    def passed_since(self, job: Job, due: int) -> int | None:
        """Return the instant before the clock jump that passed over a job's start for the due time `due`, or None if no
        jump did.

        For jobs that do not outlast steps, the result is always None.
        """
        since, to = self._passed_over
        return since - job.offset if job.outlasts_steps and since < due + job.offset <= to else None

    def clear(self, job: str) -> None:
        """Remove the job's next start."""
        self._next.pop(job, None)
        self._resting.discard(job)
        self._tidy()

    def _tidy(self) -> None:
        """Drop the stale entries of edited or removed jobs if most entries are stale."""
        if len(self._heap) > 2 * len(self._next) + 64:
            self._heap = [entry for name, entry in self._next.items() if name not in self._resting]
            heapify(self._heap)

    def next(self, job: str) -> int | None:
        """Return a job's next scheduled start (wall), or None if the job has none."""
        return self._next[job][0] if job in self._next else None

    def first(self) -> tuple[int, str] | None:
        """Return the earliest next start and its job, or None if no job has a next start."""
        heap = self._heap
        while heap:
            start, _, job = entry = heap[0]
            if self._next.get(job) == entry and job not in self._resting:
                return start, job
            heappop(heap)
        return None

    def _is_to_come(self, entry: _Entry) -> bool:
        return self._next.get(entry[2]) == entry and entry[2] not in self._resting

    def in_order(self, limit: int) -> Iterator[tuple[int, str]]:
        """Yield the next starts with their jobs, earliest first; read at most `limit` entries of the heap."""
        heap, found, told = self._heap, [(self._heap[0], 0)] if self._heap else [], set[str]()
        for _ in range(limit):
            if not found:
                return
            entry, place = heappop(found)
            start, _, name = entry
            if self._is_to_come(entry) and name not in told:
                told.add(name)
                yield start, name
            for below in range(2 * place + 1, min(2 * place + 3, len(heap))):
                heappush(found, (heap[below], below))

    def soonest(self) -> int | None:
        """Return the earliest next start of any job that does not rest, or None if there is none."""
        first = self.first()
        return None if first is None else first[0]

    def take(self, wall: int) -> list[str]:
        """Return some due jobs, ordered by start time and priority; the caller must set each job's next start.

        If many jobs are due, the first call returns only a few, so that these jobs need not wait for the rest; later
        calls return more, which is cheaper. After a gap, a call returns up to MOST jobs, because the order of jobs with
        different instants matters.
        """
        ready: dict[str, None] = {}
        while (start := self.soonest()) is not None and start <= wall:
            if wall - start >= SECOND:
                self._pace = MOST
            if len(ready) >= self._pace:
                self._pace = min(4 * self._pace, MOST)
                return list(ready)
            ready[heappop(self._heap)[2]] = None
        self._pace = FIRST
        return list(ready)
