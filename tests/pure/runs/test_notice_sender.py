"""The way of notices: an address that did not take one has its pause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.model.commands import Say
from jobqueued.model.job import Now
from jobqueued.notices.notices import Notices
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.runs.notice_sender import NoticeSender
from tests.support.told import BEGIN, OPS, record


class Link:
    """A launcher that answers when the test does."""

    greeted = True

    def __init__(self) -> None:
        self.sent: list[Callable[[int | None, str], None]] = []

    def notify(self, _user: str | None, _notice: dict[str, Any], answered: Callable[[int | None, str], None]) -> None:
        self.sent.append(answered)

    def flush(self) -> None:
        """Nothing waits here."""


def test_an_answer_of_this_turn() -> None:
    """What was refused after the clock was read for a turn is not sent again in it, but after its pause."""
    wall = BEGIN
    link, notices = Link(), Notices("db1", [OPS], lambda: "UTC", lambda _job: None)
    sender = NoticeSender(notices, cast(LauncherLink, link), None, {}, lambda: Now(wall, wall))
    sender.decide([Say("run_ended", {"record": record("a", 1, 1)})], Now(wall, wall))
    sender.turn(Now(wall, wall))
    before = Now(wall, wall)
    wall += SECOND
    link.sent[0](None, "later 0 no user")
    sender.turn(before)
    assert 1 == len(link.sent)
    wall += MINUTE
    sender.turn(Now(wall, wall))
    assert 2 == len(link.sent)
