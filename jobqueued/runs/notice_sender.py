"""The way of notices: what is said goes to `notices`, and what that wants to be sent to the launcher."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from jobqueued.commands import Command
from jobqueued.model import Now
from jobqueued.notices import happenings
from jobqueued.notices.happenings import Happening
from jobqueued.notices.notices import Notices
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.saved import Notice
from jobqueued.source import Source

_HEARD = frozenset({"refused", "mended", "degraded", "recovered"})
"""The lines that no command of the scheduler says."""


class NoticeSender(Source):
    """Sends what the outbox has, as this `user` (None: ours), with these `settings` of the channels.

    `clocks` reads both clocks.
    """

    def __init__(
        self, notices: Notices, link: LauncherLink, user: str | None, settings: Mapping[str, Any],
        clocks: Callable[[], Now],
    ) -> None:  # fmt: skip
        self._notices, self._link, self._user, self._settings = notices, link, user, settings
        self._clocks = clocks
        self._heard: list[Happening] = []
        self._decided: list[Command] = []
        self._called = 0
        link.notified = self._answered

    @property
    def troubles(self) -> list[str]:
        """The targets that can't be reached."""
        return self._notices.outbox.troubles

    @property
    def has_more(self) -> bool:
        """True if there is something to keep, or to send again."""
        return bool(self._heard or self._decided or self._is_forsaken())

    def _is_forsaken(self) -> bool:
        return self._called != self._link.calls_made and self._link.greeted

    @property
    def deadline(self) -> int | None:
        """The time at which a target takes the next message."""
        now = self._clocks()
        at = self._notices.outbox.next_at(now.wall) if self._link.greeted else None
        if at is None:
            return None
        return now.mono + at - now.wall if at > now.wall else 0

    def turn(self, now: Now) -> tuple[()]:
        """Send what is due."""
        outbox = self._notices.outbox
        if self._is_forsaken():
            self._called = self._link.calls_made
            self._decided += outbox.lose_all(now.wall)
        if self._link.greeted:
            for number, name, target, about, job in outbox.take(now.wall):
                settings = {**self._settings, **self._notices.settings(target, job)}
                notice = {"version": 1, "id": name, "channel": target.channel, "target": target.address,
                          "settings": settings, "event": about}  # fmt: skip
                self._link.notify(number, self._user, notice)
            self._link.flush()
        return ()

    def hear(self, event: str, fields: Mapping[str, Any]) -> None:
        """Hear a line that is said."""
        if event in _HEARD and (happening := happenings.of(event, fields)) is not None:
            self._heard.append(happening)

    def decide(self, commands: Sequence[Command], now: Now) -> list[Command]:
        """The saves that belong into this commit, of all that was said and answered."""
        decided, self._decided = self._decided, []
        heard, self._heard = self._heard, []
        decided += self._notices.about(commands, now.wall)
        return decided + [command for each in heard for command in self._notices.note(each, now.wall)]

    def reconcile(self, refused: Collection[str], invalid: Callable[[str], bool | None]) -> None:
        """End the incidents that ended while nobody looked.

        `refused` are the files that are; `invalid` tells of a job if it can't run, None: there is no such job.
        """
        self._decided += self._notices.reconcile(refused, invalid, self._clocks().wall)

    def test(self, job: str | None) -> list[Notice]:
        """Put a test for each target that may be told of a job, or by the rules of the site."""
        saves = [self._notices.tell(target, self._clocks().wall) for target in self._notices.targets(job)]
        self._decided += saves
        return [save.notice for save in saves]

    def _answered(self, number: int, answer: str) -> None:
        self._decided += self._notices.outbox.answered(number, answer, self._clocks().wall)
