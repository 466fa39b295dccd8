"""Commit the state. While commits fail, the state is degraded, and the daemon retries every 10 s.

If the daemon can't commit at its start, it starts no new run, because only state.db would record that run. If commits
fail later, scheduling continues, because run directories show the launch and the end of each run.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable

from jobqueued.base.instants import SECOND
from jobqueued.host.log import Log
from jobqueued.metrics.counts import SHORT_TIMES, Histogram
from jobqueued.model.commands import Command
from jobqueued.model.events import StateUnsaved
from jobqueued.model.fleet import FleetMark
from jobqueued.model.job import Now
from jobqueued.model.source import Source
from jobqueued.settings.paths import Paths
from jobqueued.state.db.faults import CommitFailed, StateFault, StoreError
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch

_RETRY = 10 * SECOND
_AT_MOST_EVERY = SECOND
"""Minimum time (ns) between two commit attempts; otherwise a busy host would retry all unsaved changes in each turn."""
_MOST_TOLD = 100
"""Maximum number of users' lost requests to list when the daemon ends."""


class Commits(Source):
    """The commits of a write batch. `degraded`: why commits fail now, or None if they succeed.

    `everything` returns the commands that save the whole state in a new state.db.
    """

    def __init__(
        self, store: Store, batch: WriteBatch, everything: Callable[[], Iterable[Command]], paths: Paths, log: Log
    ) -> None:
        self.store, self.batch, self._everything, self._paths, self._log = store, batch, everything, paths, log
        self.degraded: str | None = None
        self._cause = ""
        """The fault that makes commits fail, and its remedy."""
        self._asked = deque[str](maxlen=_MOST_TOLD)
        self._asked_in_all = 0
        """Users' newest unsaved requests (`_asked`), and the number of all unsaved requests."""
        self._holds = True
        """True until the daemon's first commit; until then, no new run starts."""
        self._is_proven = False
        """True if a commit succeeded since the start or since the last failure."""
        self.times, self.failures = Histogram(SHORT_TIMES), 0
        """Durations of successful commits, and the number of failed commits."""
        self._tried_at = 0

    def __bool__(self) -> bool:
        """Return whether changes wait for a commit, or whether a commit must be tried for another reason."""
        return bool(self.batch or not self._is_proven or self.store.failure)

    def of_fleet(self) -> tuple[str, FleetMark] | None:
        """Return the state's unique ID and the fleet's last saved mark, or None if nothing can be saved now."""
        with contextlib.suppress(StoreError):
            name, mark = self.store.of_fleet()
            return (name, mark) if name and not self.degraded else None
        return None

    @property
    def troubles(self) -> list[str]:
        """Descriptions of state that is not saved although commits succeed; for failing commits, see `degraded`."""
        return [self.batch.trouble] if self.batch.trouble else []

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) when the loop must wake to retry the commit, or None if commits succeed."""
        return self._tried_at + _RETRY if self.degraded else None

    @property
    def has_more(self) -> bool:
        """True if commits succeed but new runs are still held back."""
        return self._holds and self.degraded is None

    def turn(self, now: Now) -> Iterable[StateUnsaved]:
        """Allow new runs if they were held back until the state was saved."""
        if not self.has_more:
            return ()
        self._holds = False
        return (StateUnsaved(""),)

    def begun(self) -> list[StateUnsaved]:
        """Return an event that prevents new runs if the daemon could not commit at its start, else []."""
        self._holds = self.degraded is not None
        return [StateUnsaved(self.degraded)] if self.degraded else []

    def make(self) -> bool:
        """Commit the batch; return False if this failed, so that the batch remains for the next try."""
        now = time.monotonic_ns()
        if self.degraded and now < self._tried_at + _AT_MOST_EVERY:
            return False
        self._tried_at = now
        try:
            if trouble := self._commit():
                self._log.say("trouble", text=trouble)
        except CommitFailed as error:
            self.failures += 1
            self.degrade(error)
            return False
        finally:
            for name in self.store.given_up():
                self._log.say("trouble", text=f"{self._paths.state} is full: {name} was removed to make room")
        self.times.add((time.monotonic_ns() - now) / SECOND)
        self._is_proven = True
        self._asked.clear()
        self._asked_in_all = 0
        if self.degraded:
            self.degraded = None
            self.store.tidy()  # also re-creates the ballast
            self._log.say("recovered", text=f"{self._paths.state}: the state is saved again", of="state")
        return True

    def last(self) -> bool:
        """Try to commit once more before the daemon ends, even if only the time is unsaved."""
        self._tried_at, self._is_proven = 0, False
        return self.make()

    def keep(self, asked: str) -> str:
        """Record a user's request that no commit has saved yet; return a warning for the user."""
        unsaved = f"saved in memory only; a restart will lose it: {self._cause}"
        if asked not in self._asked:
            self._asked.append(asked)
            self._asked_in_all += 1
            self._log.say("unsaved", text=f"{asked}: {unsaved}")
        return unsaved

    @property
    def forgotten(self) -> str:
        """Describe the users' requests that are lost if the daemon ends now, or return "" if none would be lost."""
        if not self._asked:
            return ""
        more = self._asked_in_all - len(self._asked)
        others = f" and {more} more requests" if more else ""
        return f"{self._cause}; a restart forgets {'; '.join(self._asked)}{others}"

    def _commit(self) -> str:
        self._mend()
        try:
            return self.batch.commit(proven=self._is_proven)
        except CommitFailed as error:
            if error.fault not in (StateFault.BROKEN, StateFault.FOREIGN):
                raise
        self._mend()
        return self.batch.commit()

    def _mend(self) -> None:
        """Reopen state.db after a failure.

        If the file is new or was changed by another program, put the whole state from memory into the next commit.
        """
        lost_before = self.store.lost
        mended = self.store.mend()
        if mended is not None:
            self.batch.begin_anew(self._everything(), mended.mirror)
        is_set_aside = self.store.lost != lost_before
        if is_set_aside or (mended is not None and mended.is_new):
            lost = self.store.lost if is_set_aside else f"{self._paths.state}/state.db is missing"
            found = "the next start restores history from the records"
            self._log.say(
                "trouble", text=f"{lost}; the daemon writes a new one with everything except history; {found}"
            )
        elif mended is not None:
            lost = f"another program has written to {self._paths.state}/state.db or its log"
            found = "the next start compares its history with the records"
            self._log.say("trouble", text=f"{lost}; the daemon writes everything else again; {found}")

    def degrade(self, error: CommitFailed) -> None:
        """Record a failed commit; log only the first failure."""
        risk = f"starts and ends are saved only in {self._paths.run}, so runs may repeat if the host goes down"
        effect = "live runs continue, but nothing new starts" if self._holds else f"runs start and continue, but {risk}"
        self._cause = f"{self._paths.state}/state.db can't be written ({error}); {error.fault.remedy}"
        text = f"{self._paths.state}: cannot save state ({error}); {effect}; {error.fault.remedy}"
        if self.degraded is None:
            self._log.say("degraded", text=text)
        self.degraded, self._is_proven = text, False
