"""Housekeeping: what retention lets go, record files that a crash left behind their rows, the write-ahead log.

One job a turn, some time after there is something to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container
from pathlib import Path

from jobqueued.model import MINUTE, Now, RunId
from jobqueued.settings import Retention
from jobqueued.source import Source
from jobqueued.state import record_files
from jobqueued.state.faults import CommitFailed, StoreError
from jobqueued.state.store import Store


class Housekeeping(Source):
    """Jobs of which something may be let go.  `live` tells the runs to spare; `failed` is told of commits that fail."""

    def __init__(
        self,
        store: Store,
        logs: Path,
        retention: Retention,
        live: Callable[[], Container[RunId]],
        failed: Callable[[CommitFailed], None],
    ) -> None:
        self._store, self._logs, self._retention, self._live, self._failed = store, logs, retention, live, failed
        self._jobs: set[str] = set()
        self._unmended: set[str] = set()
        self._at: int | None = None

    def begin(self, now: Now) -> None:
        """At start: look at every job, as nobody did meanwhile."""
        with contextlib.suppress(StoreError):
            self._unmended = set(self._store.jobs())
        self._jobs = self._unmended | set(record_files.jobs(self._logs))
        self._at = now.mono if self._jobs else None

    def note(self, job: str, now: Now) -> None:
        """A run of this job has ended."""
        self._jobs.add(job)
        self._at = now.mono + MINUTE if self._at is None else self._at

    @property
    def deadline(self) -> int | None:
        """The time to look; None: there is nothing to do."""
        return self._at

    def turn(self, now: Now) -> tuple[()]:
        """Look at one job; after the last one at the log."""
        try:
            self._look(now)
        except CommitFailed as error:
            self._failed(error)
        return ()

    def _look(self, now: Now) -> None:
        if self._jobs:
            job = self._jobs.pop()
            self._mend(job)
            self._expire(job, now)
        if not self._jobs:
            self._at = None
            self._store.tidy()

    def _mend(self, job: str) -> None:
        """Once after the start: the scheduler writes its records after the commit, and may have died in between."""
        if job not in self._unmended:
            return
        self._unmended.discard(job)
        with contextlib.suppress(OSError, StoreError):
            for record in self._store.of_the_scheduler(job):
                if record_files.read(self._logs, RunId(job, record["number"])) != record:
                    record_files.write(self._logs, record)

    def _expire(self, job: str, now: Now) -> None:
        live = self._live()
        expired = record_files.expired(self._logs, job, self._retention, now.wall)
        gone = [number for number in expired if RunId(job, number) not in live]
        for number in gone:
            record_files.remove(self._logs, RunId(job, number))
        if gone:
            self._store.forget(job, gone)
