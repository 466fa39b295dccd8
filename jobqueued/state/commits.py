"""Commits, and what is said while none succeeds: the state is degraded, and it is tried again every 10 s.

A start that can't commit lets nothing new start: what is in state.db may be all that there is to go by.  Later, R is
the intent and holds the end, so scheduling goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable

from jobqueued.commands import Command
from jobqueued.events import StateUnsaved
from jobqueued.fleet import FleetMark
from jobqueued.host.log import Log
from jobqueued.metrics.counts import SHORT_TIMES, Histogram
from jobqueued.model import SECOND, Now
from jobqueued.paths import Paths
from jobqueued.source import Source
from jobqueued.state.faults import CommitFailed, Fault, StoreError
from jobqueued.state.store import Store
from jobqueued.state.write_batch import WriteBatch

_RETRY = 10 * SECOND
_AT_MOST_EVERY = SECOND
"""While there is much to do each turn would try again, with all that has come together."""
_MOST_TOLD = 100
"""So many things that people have asked for are named at the end, where it has come to nothing."""


class Commits(Source):
    """Commits of one batch.  `degraded` says why that can't be done now; None: it can.

    `everything` is what a new state.db has to hold.
    """

    def __init__(
        self, store: Store, batch: WriteBatch, everything: Callable[[], Iterable[Command]], paths: Paths, log: Log
    ) -> None:
        self._store, self._batch, self._everything, self._paths, self._log = store, batch, everything, paths, log
        self.degraded: str | None = None
        self._cause = ""
        """The fault and its remedy."""
        self._asked = deque[str](maxlen=_MOST_TOLD)
        self._asked_in_all = 0
        """What people have asked for, and no commit holds yet."""
        self._holds = True
        """Nothing new starts until the first commit: so it is during the start, and, if that can't commit, after it."""
        self._is_proven = False
        """Whether something could be written since the start, or since it failed."""
        self.times, self.failures = Histogram(SHORT_TIMES), 0
        """How long those took that succeeded, and how many did not."""
        self._tried_at = 0

    def __bool__(self) -> bool:
        """True if there is something to commit, or to try."""
        return bool(self._batch or not self._is_proven or self._store.failure)

    def of_fleet(self) -> tuple[str, FleetMark] | None:
        """The name of the state, and the mark of the fleet that was saved last; None: nothing can be saved now."""
        with contextlib.suppress(StoreError):
            name, mark = self._store.of_fleet()
            return (name, mark) if name and not self.degraded else None
        return None

    @property
    def troubles(self) -> list[str]:
        """Tell what is not saved although commits succeed; `degraded` tells why none does."""
        return [self._batch.trouble] if self._batch.trouble else []

    @property
    def deadline(self) -> int | None:
        """The time of the next try, which the turn that it brings about makes."""
        return self._tried_at + _RETRY if self.degraded else None

    @property
    def has_more(self) -> bool:
        """True once what a start could not save is saved."""
        return self._holds and self.degraded is None

    def turn(self, now: Now) -> Iterable[StateUnsaved]:
        """Let new runs start."""
        if not self.has_more:
            return ()
        self._holds = False
        return (StateUnsaved(""),)

    def begun(self) -> list[StateUnsaved]:
        """The event that lets nothing new start, after a start that could not commit."""
        self._holds = self.degraded is not None
        return [StateUnsaved(self.degraded)] if self.degraded else []

    def make(self) -> bool:
        """Commit the batch; False: it stays for the next."""
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
            for name in self._store.given_up():
                self._log.say("trouble", text=f"{self._paths.state} is full: {name} was removed to make room")
        self.times.add((time.monotonic_ns() - now) / SECOND)
        self._is_proven = True
        self._asked.clear()
        self._asked_in_all = 0
        if self.degraded:
            self.degraded = None
            self._store.tidy()  # the ballast, too
            self._log.say("recovered", text=f"{self._paths.state}: state is saved again", of="state")
        return True

    def last(self) -> bool:
        """Try once more before the end, whenever it was tried; where there is nothing, that it was saved until now."""
        self._tried_at, self._is_proven = 0, False
        return self.make()

    def keep(self, asked: str) -> str:
        """Keep in memory what a person has asked for, which no commit holds yet; what that means, for whoever asked."""
        unsaved = f"in memory only, and a restart forgets it: {self._cause}"
        if asked not in self._asked:
            self._asked.append(asked)
            self._asked_in_all += 1
            self._log.say("unsaved", text=f"{asked}: {unsaved}")
        return unsaved

    @property
    def forgotten(self) -> str:
        """The loss, if the daemon ends now, of what people have asked for; "": there is none."""
        if not self._asked:
            return ""
        more = self._asked_in_all - len(self._asked)
        others = f" and {more} before" if more else ""
        return f"{self._cause}; so the next start does not know of {'; '.join(self._asked)}{others}"

    def _commit(self) -> str:
        self._mend()
        try:
            return self._batch.commit(proven=self._is_proven)
        except CommitFailed as error:
            if error.fault not in (Fault.BROKEN, Fault.FOREIGN):
                raise
        self._mend()
        return self._batch.commit()

    def _mend(self) -> None:
        """Open state.db anew after a failure; all that memory has goes into a new file, and into one of which others
        have made something else.
        """
        lost_before = self._store.lost
        mended = self._store.mend()
        if mended is not None:
            self._batch.begin_anew(self._everything(), mended.mirror)
        is_set_aside = self._store.lost != lost_before
        if is_set_aside or (mended is not None and mended.is_new):
            lost = self._store.lost if is_set_aside else f"{self._paths.state}/state.db is gone"
            found = "history is taken over from the records at the next start"
            self._log.say("trouble", text=f"{lost}; a new one is written, with all but the history; {found}")
        elif mended is not None:
            lost = f"another program has written to {self._paths.state}/state.db, or to its log"
            found = "its history is compared with the records at the next start"
            self._log.say("trouble", text=f"{lost}; all else is written to it again, and {found}")

    def degrade(self, error: CommitFailed) -> None:
        """Say it once."""
        risk = f"starts and ends are only in {self._paths.run} so far, so runs may repeat if the host goes down"
        effect = "live runs are followed, but nothing new starts" if self._holds else f"runs go on, but {risk}"
        self._cause = f"{self._paths.state}/state.db can't be written ({error}); {error.fault.remedy}"
        text = f"{self._paths.state}: cannot save state ({error}); {effect}; {error.fault.remedy}"
        if self.degraded is None:
            self._log.say("degraded", text=text)
        self.degraded, self._is_proven = text, False
