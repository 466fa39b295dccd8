"""The sender of notices as a source of the loop, whose turn begins before what it hears in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.model.commands import Say
from jobqueued.model.job import Job, Now
from jobqueued.model.notify import Notify, NotifyRule, Ping
from jobqueued.notices.notices import Notices
from jobqueued.runs.notice_sender import NoticeSender
from tests.support.told import BEGIN, record

HTTPS = "https://hc.example.org/uuid"


class Link:
    """A launcher that answers when it is told to."""

    greeted = True

    def __init__(self) -> None:
        self.orders: list[tuple[dict[str, Any], Callable[[int | None, str], None]]] = []

    def notify(self, _user: str | None, notice: dict[str, Any], answered: Callable[[int | None, str], None]) -> None:
        """Keep the order."""
        self.orders.append((notice, answered))

    def flush(self) -> None:
        """Nothing is kept."""


def test_an_answer_within_a_turn() -> None:
    """What was just refused is not sent again in the turn in which that is heard: its pause counts from then."""
    now = Now(BEGIN, 1000 * SECOND)
    job = Job(id="a", command="x", ping=Ping(HTTPS))
    notices, link = Notices("db1", [NotifyRule(Notify(command=("/x",)))], lambda: "UTC", {"a": job}.get), Link()
    sender = NoticeSender(notices, link, None, {}, lambda: now)  # type: ignore[arg-type]
    sender.decide([Say("run_ended", {"record": record("a", 1, 1)})], now)
    began = now
    sender.turn(began)
    assert ["command", "ping"] == [notice["channel"] for notice, _ in link.orders]
    now = Now(BEGIN + 1, 1000 * SECOND + 1)
    for _, answered in link.orders:
        answered(None, "later 0 no")
    sender.turn(began)
    assert (2, 1000 * SECOND + 1 + 10 * SECOND) == (len(link.orders), sender.deadline)
    now = Now(BEGIN + 2 + MINUTE, 1000 * SECOND + 2 + MINUTE)
    sender.turn(now)
    assert 4 == len(link.orders)
