"""The heartbeat as a source of the loop: what is sent says that scheduling goes on now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueued.base.instants import DAY, MINUTE, SECOND
from jobqueued.model.job import Now
from jobqueued.model.notify import Heartbeat as Wish
from jobqueued.runs.heartbeat import HeartbeatSender


class Beating:
    """A heartbeat, its launcher and its log, with a clock that is set by hand."""

    def __init__(self, every: int = MINUTE, url: str = "https://hc.example.org/secret-uuid") -> None:
        self.mono = 1000 * SECOND
        self.greeted = True
        self.orders: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.still = ""
        wish = Wish(url, every) if url else None
        self.heart = HeartbeatSender(wish, self, "notifier", lambda: self.still, self, self._clocks)  # type: ignore[arg-type]

    def _clocks(self) -> Now:
        return Now(DAY, self.mono)

    def notify(self, _user: str | None, notice: dict[str, Any], answered: Callable[[int | None, str], None]) -> None:
        self.orders.append(notice)
        self.answered = answered

    def flush(self) -> None:
        """Nothing is kept."""

    def say(self, event: str, text: str) -> None:
        self.said.append(f"{event}: {text}")

    def turn(self, seconds: float = 0) -> int:
        """A turn of the loop after so long, whether it is due or not; the number of those sent so far."""
        self.mono += int(seconds * SECOND)
        self.heart.turn(Now(DAY, self.mono))
        return len(self.orders)

    def due_in(self) -> float | None:
        """The time until the loop would wake up for it."""
        at = self.heart.deadline
        return None if at is None else max(0, at - self.mono) / SECOND

    def take(self, part: str, end: str = "sent") -> None:
        """Whoever was asked to send it answers."""
        if part:
            self.answered(0, part)
        self.answered(None, end)


def test_nothing_without_it() -> None:
    """Whoever has no heartbeat is not woken up for one."""
    beating = Beating(url="")
    assert (None, 0) == (beating.heart.deadline, beating.turn(3600))


def test_each_interval() -> None:
    """The first at once, then one an interval, and a wake-up for each."""
    beating = Beating()
    assert (0, 1) == (beating.due_in(), beating.turn())
    beating.take("sent")
    assert (60, 1) == (beating.due_in(), beating.turn(59))
    assert (1, 2) == (beating.due_in(), beating.turn(1))
    assert beating.said == [] == beating.heart.troubles


def test_a_loop_that_stood_still() -> None:
    """It makes up for nothing."""
    beating = Beating()
    beating.turn()
    beating.take("sent")
    assert 2 == beating.turn(3600)
    beating.take("sent")
    assert (2, 60) == (beating.turn(), beating.due_in())


def test_a_receiver_that_hangs() -> None:
    """One is on its way at a time, and the loop does not wait for it; each says until when it is true."""
    beating = Beating(10 * SECOND)
    beating.turn()
    assert (1, None) == (beating.turn(3600), beating.due_in())
    (ping,) = beating.orders[0]["event"]["pings"]
    assert (1010.0, None) == (ping["until"], ping["body"])
    beating.take("", "later 0 no answer")
    assert (0, 2) == (beating.due_in(), beating.turn())


def test_nobody_takes_it() -> None:
    """A new one after 10, 20, 40 s, but no later than its time; said once a day, and when it is over."""
    beating, pauses = Beating(MINUTE), []
    for _ in range(4):
        beating.turn()
        beating.take("later 0 no") if pauses else beating.take("", "later 0 refused")
        pauses.append(beating.due_in())
        beating.mono += int((pauses[-1] or 0) * SECOND)
    assert [10, 20, 40, 60] == pauses
    assert ["trouble: the heartbeat https://hc.example.org/… can't be sent: refused"] == beating.said
    assert ["the heartbeat https://hc.example.org/… can't be sent: no"] == beating.heart.troubles
    beating.turn()
    beating.take("sent")
    assert ([], "recovered: the heartbeat https://hc.example.org/… is sent again") == (
        beating.heart.troubles, beating.said[1],
    )  # fmt: skip
    for hours in (1, 24):
        beating.turn(hours * 3600)
        beating.take("", "later 0 gone")
    assert 3 == len(beating.said)


def test_scheduling_that_stands_still() -> None:
    """The loop turns, and nothing starts: that is no life."""
    beating = Beating()
    beating.still = "the state can't be saved"
    assert (0, 60) == (beating.turn(), beating.due_in())
    beating.still = ""
    assert 1 == beating.turn(60)


def test_no_launcher() -> None:
    """It has to be there for a heartbeat as for a run; the first is sent once it is back."""
    beating = Beating()
    beating.turn()
    beating.greeted = False
    beating.take("", "later 0 its sender exited")
    assert (1, None) == (beating.turn(3600), beating.due_in())
    beating.greeted = True
    assert (0, 2) == (beating.due_in(), beating.turn())
