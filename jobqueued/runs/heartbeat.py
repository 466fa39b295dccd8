"""The heartbeat: pings to an outside monitor at intervals while scheduling works; if they stop, the monitor alerts
people.

A ping means that scheduling works now, so a ping that was not sent in time is dropped. Like every start, a ping goes
through the launcher and a supervisor, so it also shows that these programs work.
"""

from __future__ import annotations

from collections.abc import Callable

from jobqueued.base.instants import DAY, SECOND
from jobqueued.host.log import Log
from jobqueued.model.job import Now
from jobqueued.model.notify import Heartbeat as Wish
from jobqueued.model.notify import Target
from jobqueued.model.source import Source
from jobqueued.notices.failing_receivers import NotifierAnswer, grown
from jobqueued.notices.pings import receiver_of
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.runs.notice_sender import ping_order

_LONGEST_WAIT = 10
"""Timeout (s) of a ping."""
_FIRST_PAUSE = 10 * SECOND


class HeartbeatSender(Source):
    """A source that sends the pings of `wish`, if any, as `user` (None means the daemon's user), except while
    `stands_still` returns a reason.
    """

    def __init__(
        self,
        wish: Wish | None,
        link: LauncherLink,
        user: str | None,
        stands_still: Callable[[], str],
        log: Log,
        clocks: Callable[[], Now],
    ) -> None:
        self._wish, self._link, self._user, self._log, self._clocks = wish, link, user, log, clocks
        self._stands_still = stands_still
        self._at = 0
        self._on_way, self._verdict = False, ""
        self._failures = 0
        self._said_at: int | None = None
        self._trouble = ""

    @property
    def troubles(self) -> list[str]:
        """The reason why the last ping was not sent."""
        return [self._trouble] if self._trouble else []

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) of the next ping, or None if no heartbeat is set or an answer is awaited."""
        return None if self._wish is None or self._on_way or not self._link.greeted else self._at

    def turn(self, now: Now) -> tuple[()]:
        """Send a ping if one is due."""
        if self._wish is None or self._on_way or not self._link.greeted or now.mono < self._at:
            return ()
        self._at = now.mono + self._wish.every
        if self._stands_still():
            return ()
        self._on_way = True
        target = Target("heartbeat", self._wish.url)
        until = (now.mono + _LONGEST_WAIT * SECOND) / SECOND
        ping = {"number": 0, "url": self._wish.url, "body": None, "until": until}
        order = ping_order(receiver_of(target).address, [ping], _LONGEST_WAIT)
        self._link.notify({"user": self._user}, order, self._answered)
        self._link.flush()
        return ()

    def _answered(self, part: int | None, answer: str) -> None:
        if part is not None:
            self._verdict = answer
            return
        verdict, now = NotifierAnswer.parse(self._verdict or answer), self._clocks()
        self._on_way, self._verdict = False, ""
        if verdict.sent:
            if self._trouble:
                self._log.say("recovered", text=f"{self._name} is sent again")
            self._failures, self._trouble = 0, ""
            return
        self._failures += 1
        pause = verdict.pause or grown(_FIRST_PAUSE, self._failures)
        self._at = min(self._at, now.mono + pause)
        self._trouble = f"{self._name} can't be sent: {verdict.why}"
        if self._said_at is None or self._said_at + DAY <= now.mono:
            self._said_at = now.mono
            self._log.say("trouble", text=self._trouble)

    @property
    def _name(self) -> str:
        return f"the {Target('heartbeat', self._wish.url if self._wish else '').shown}"
