"""News of the launcher and of supervisors, and what becomes of a launcher that is gone: a new one is called."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Iterator

from jobqueued.events import Event
from jobqueued.host.log import Log
from jobqueued.model import SECOND, Now
from jobqueued.runs.launcher_link import LauncherError, LauncherLink
from jobqueued.source import Source
from jobqueued.text import duration

_CALL_AGAIN = 10 * SECOND


class LauncherNews(Source):
    """News from the link.  `recover` gives the verdicts on all live attempts, once a new launcher has answered."""

    def __init__(self, link: LauncherLink, recover: Callable[[], Iterable[Event]], log: Log) -> None:
        self._link, self._recover, self._log = link, recover, log
        self._call_again_at: int | None = None
        self._trouble = ""

    @property
    def troubles(self) -> list[str]:
        """Tell of a launcher that is not there, or silent, and of supervisors that are."""
        return [*([self._trouble] if self._trouble else []), *self._link.following.troubles]

    def _say(self, trouble: str) -> None:
        """Say what lasts until the launcher answers."""
        self._trouble = trouble
        self._log.say("trouble", text=trouble)

    def descriptors(self) -> dict[int, int]:
        """The link's."""
        found = dict.fromkeys(self._link.descriptors(), select.POLLIN)
        if (unsent := self._link.unsent) is not None:
            found[unsent] |= select.POLLOUT
        return found

    @property
    def deadline(self) -> int | None:
        """The time to call again, to say that the launcher is silent, or to note what could not be noted."""
        link = self._link
        times = (self._call_again_at, link.overdue, link.following.deadline, link.marks.emptying.deadline)
        return min((at for at in times if at is not None), default=None)

    def ready(self, descriptor: int, now: Now) -> list[Event]:
        """Hear what is told; whoever hangs up is called anew."""
        if descriptor not in self._link:
            return []
        self._link.flush()
        heard = self._link.read(descriptor)
        if heard is None:
            if self._link.greeted:
                self._say("the launcher is gone; live runs go on; connecting to a new one")
            self._call()
            return []
        events = list(heard)
        if self._link.answers_again():
            self._trouble = ""
            self._log.say("recovered", text="the launcher answers again")
        if self._call_again_at is not None and self._link.greeted:
            self._call_again_at, self._trouble = None, ""
            events += self._recovered()
        return events

    def _recovered(self) -> Iterator[Event]:
        """The verdicts; where the run directory can't be read now, it is all done anew with the next call."""
        try:
            yield from self._recover()
        except OSError as error:
            where, again = error.filename or "run directory", duration(_CALL_AGAIN / SECOND)
            self._say(f"{where}: {error.strerror}; live runs are looked for again in {again}")
            self._call_again_at = time.monotonic_ns() + _CALL_AGAIN

    def turn(self, now: Now) -> list[Event]:
        """Call again, or say that the launcher is silent, and look after those that no launcher has."""
        if self._call_again_at is not None and self._call_again_at <= now.mono:
            self._call()
        overdue = self._link.overdue
        if overdue is not None and overdue <= now.mono and (silence := self._link.silence()):
            self._say(silence)
        events = [*self._link.following.look(now.mono)]
        if self._link.marks.emptying.deadline is not None:
            events += self._link.emptied()
        for trouble in self._link.following.news():
            self._log.say("trouble", text=trouble)
        return events

    def _call(self) -> None:
        """Call a launcher; until one answers what is admitted stays `starting`; it is sent after the recovery."""
        try:
            self._link.call()
        except LauncherError as error:
            self._say(f"{error}; next try in {duration(_CALL_AGAIN / SECOND)}")
        self._call_again_at = time.monotonic_ns() + _CALL_AGAIN
