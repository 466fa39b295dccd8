"""Commits, and what is said while none succeeds: the state is degraded, and it is tried again every 10 s."""

from __future__ import annotations

import time

from jobqueued.host.log import Log
from jobqueued.model import SECOND
from jobqueued.paths import Paths
from jobqueued.source import Source
from jobqueued.state.store import CommitFailed
from jobqueued.state.write_batch import WriteBatch

_RETRY = 10 * SECOND


class Commits(Source):
    """Commits of one batch.  `degraded` says why that can't be done now; None: it can."""

    def __init__(self, batch: WriteBatch, paths: Paths, log: Log) -> None:
        self._batch, self._paths, self._log = batch, paths, log
        self.degraded: str | None = None
        self._tried_at = 0

    def __bool__(self) -> bool:
        """True if there is something to commit, or to try again."""
        return bool(self._batch or self.degraded)

    @property
    def deadline(self) -> int | None:
        """The time of the next try, which the turn that it brings about makes."""
        return self._tried_at + _RETRY if self.degraded else None

    def make(self) -> bool:
        """Commit the batch; False: it stays for the next."""
        self._tried_at = time.monotonic_ns()
        try:
            if trouble := self._batch.commit():
                self._log.say("trouble", text=trouble)
        except CommitFailed as error:
            self.degrade(error)
            return False
        if self.degraded:
            self.degraded = None
            self._log.say("recovered", text=f"{self._paths.state}: state is saved again")
        return True

    def degrade(self, error: CommitFailed) -> None:
        """Say it once."""
        risk = f"starts and ends are only in {self._paths.run} so far, so runs may repeat if the host goes down"
        remedy = f"free space in {self._paths.state}, or make it writable"
        text = f"{self._paths.state}: cannot save state ({error}); runs go on, but {risk}; {remedy}"
        if self.degraded is None:
            self._log.say("degraded", text=text)
        self.degraded = text
