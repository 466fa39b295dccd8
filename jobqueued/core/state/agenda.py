"""The work that events leave for the end of the turn; each item is listed once.

At the end of the turn, the scheduler judges changed jobs together, makes jobs due that react to ends, and checks due
runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from jobqueued.child.contract.documents import Record
from jobqueued.model.run import Run


class Agenda:
    """Jobs to be judged, ends that may make other jobs due, and jobs whose due runs must be checked."""

    def __init__(self) -> None:
        self._unjudged: dict[str, None] | None = None
        self._ended: list[tuple[Run, Record]] = []
        self._over: deque[Run] = deque()
        self._stirred: dict[str, None] = {}

    def judge(self, jobs: Iterable[str] | None) -> None:
        """Record that the validity of these jobs must be judged; None means all jobs."""
        if jobs is None:
            self._unjudged = None
        elif self._unjudged is not None:
            self._unjudged |= dict.fromkeys(jobs)

    def take_unjudged(self) -> Iterable[str] | None:
        """Remove and return the jobs to judge, or None for all jobs."""
        unjudged, self._unjudged = self._unjudged, {}
        return unjudged

    def follow(self, ended: Run, record: Record) -> None:
        """Record the end of a run with this record, so that the end can make other jobs due."""
        self._ended.append((ended, record))

    def take_ended(self) -> tuple[Run, Record] | None:
        """Remove and return the oldest noted end, or None if none is left."""
        return self._ended.pop(0) if self._ended else None

    def note_over(self, run: Run) -> None:
        """Record that a run is over, whatever its state, so that submissions that wait for it are checked."""
        self._over.append(run)

    def take_over(self) -> Run | None:
        """Remove and return the oldest run that is over, or None if none is left."""
        return self._over.popleft() if self._over else None

    def look_at(self, job: str) -> None:
        """Record that a job's due runs must be checked."""
        self._stirred[job] = None

    def take_stirred(self) -> str | None:
        """Remove and return the next job whose due runs must be checked, or None if none is left."""
        if not self._stirred:
            return None
        job = next(iter(self._stirred))
        del self._stirred[job]
        return job

    def __bool__(self) -> bool:
        """Return whether ends are left to handle or due runs are left to check."""
        return bool(self._ended or self._over or self._stirred)
