"""The work that an event leaves for the end of its turn, each item once.

Definitions that came together are judged together, ends make other jobs due, what was held back goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from jobqueued.model import Record, Run


class Agenda:
    """Jobs whose validity is to be judged, ends to be followed, jobs whose runs may go on."""

    def __init__(self) -> None:
        self._unjudged: dict[str, None] | None = None
        self._ended: list[tuple[Run, Record]] = []
        self._over: deque[Run] = deque()
        self._stirred: dict[str, None] = {}

    def judge(self, jobs: Iterable[str] | None) -> None:
        """Have it judged which of these jobs (None: all) can run on this host."""
        if jobs is None:
            self._unjudged = None
        elif self._unjudged is not None:
            self._unjudged |= dict.fromkeys(jobs)

    def take_unjudged(self) -> Iterable[str] | None:
        """Hand over the jobs to be judged; None: all of them."""
        unjudged, self._unjudged = self._unjudged, {}
        return unjudged

    def follow(self, ended: Run, record: Record) -> None:
        """Let other jobs follow the end of a run, which left this record."""
        self._ended.append((ended, record))

    def take_ended(self) -> tuple[Run, Record] | None:
        """Hand over the oldest end to be followed; None: there is none."""
        return self._ended.pop(0) if self._ended else None

    def note_over(self, run: Run) -> None:
        """Have it looked at what the end of a run, whatever it is, means for submissions."""
        self._over.append(run)

    def take_over(self) -> Run | None:
        """Hand over the oldest run that is over; None: there is none."""
        return self._over.popleft() if self._over else None

    def look_at(self, job: str) -> None:
        """Have the runs of a job looked at that are due."""
        self._stirred[job] = None

    def take_stirred(self) -> str | None:
        """Hand over the next job to be looked at; None: there is none."""
        if not self._stirred:
            return None
        job = next(iter(self._stirred))
        del self._stirred[job]
        return job

    def __bool__(self) -> bool:
        """Tell whether ends or jobs are left."""
        return bool(self._ended or self._over or self._stirred)
