"""The source of notices from the launcher and from supervisors. If the launcher exits, the source calls a new
launcher.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Iterator

from jobqueued.base.instants import SECOND
from jobqueued.base.text import duration
from jobqueued.host.log import Log
from jobqueued.model.events import Event
from jobqueued.model.job import Now
from jobqueued.model.source import Source
from jobqueued.runs.launcher_link import LauncherError, LauncherLink

_CALL_AGAIN = 10 * SECOND


class LauncherNews(Source):
    """The events from the link. After a new launcher has answered, `recover` yields the verdicts on all live
    attempts.
    """

    def __init__(self, link: LauncherLink, recover: Callable[[], Iterable[Event]], log: Log) -> None:
        self._link, self._recover, self._log = link, recover, log
        self._call_again_at: int | None = None
        self._trouble = ""

    @property
    def troubles(self) -> list[str]:
        """The lasting problems: a missing or silent launcher, and silent supervisors."""
        return [*([self._trouble] if self._trouble else []), *self._link.following.troubles]

    def _say(self, trouble: str) -> None:
        """Log a problem that lasts until the launcher answers."""
        self._trouble = trouble
        self._log.say("trouble", text=trouble)

    def descriptors(self) -> dict[int, int]:
        """Return the link's descriptors."""
        found = dict.fromkeys(self._link.descriptors(), select.POLLIN)
        if (unsent := self._link.unsent) is not None:
            found[unsent] |= select.POLLOUT
        return found

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) to retry calling a launcher, to report a silent launcher, or to check attempts or
        run directories.
        """
        link = self._link
        times = (self._call_again_at, link.overdue, link.following.deadline, link.marks.emptying.deadline)
        return min((at for at in times if at is not None), default=None)

    def ready(self, descriptor: int, now: Now) -> list[Event]:
        """Handle notices; if the launcher exited, call a new one."""
        if descriptor not in self._link:
            return []
        self._link.flush()
        heard = self._link.read(descriptor)
        if heard is None:
            if self._link.greeted:
                self._say("the launcher exited; live runs continue; connecting to a new launcher")
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
        """Yield the verdicts of a recovery. If the directory of all R can't be read now, the next call repeats the
        recovery.
        """
        try:
            yield from self._recover()
        except OSError as error:
            where, again = error.filename or "run directory", duration(_CALL_AGAIN / SECOND)
            self._say(f"{where}: {error.strerror}; the next search for live runs is in {again}")
            self._call_again_at = time.monotonic_ns() + _CALL_AGAIN

    def turn(self, now: Now) -> list[Event]:
        """If it is time, retry calling a launcher, report a silent launcher, and check the attempts that no launcher
        reports.
        """
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
        """Call a launcher. Until a launcher answers, admitted attempts remain `starting`; the recovery then decides
        about these attempts.
        """
        try:
            self._link.call()
        except LauncherError as error:
            self._say(f"{error}; next try in {duration(_CALL_AGAIN / SECOND)}")
        self._call_again_at = time.monotonic_ns() + _CALL_AGAIN
