"""Calls about crontabs: one at a time, each answered once, whatever becomes of the launcher."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from jobqueued.control.calls.crontab_calls import CrontabCalls
from jobqueued.control.protocol.peers import Peer
from tests.support.askers import asker, bound


class Link:
    """A launcher that answers when it is told to."""

    def __init__(self) -> None:
        self.greeted, self.orders, self.answered = True, list[dict[str, Any]](), list[Any]()
        self.see = "see its log"

    def see_to_crontab(self, order: dict[str, Any], answered: Any) -> None:
        self.orders.append(order)
        self.answered.append(answered)

    def flush(self) -> None:
        """Nothing is kept back."""


class Calls:
    """Calls by one peer, and their replies by ticket."""

    def __init__(self) -> None:
        self.link, self.replies = Link(), dict[int, tuple[dict[str, Any], str | None]]()
        self.calls = CrontabCalls(cast(Any, self.link), Path("/"), self._reply, live=lambda: True)
        self.methods = bound(self.calls, asker(Peer(1000, frozenset()), count(1).__next__))

    def _reply(self, ticket: int, value: dict[str, Any], error: str | None) -> None:
        self.replies[ticket] = value, error

    def answer(self, *said: str) -> None:
        """Let the launcher say the parts and the answer to its last order."""
        for number, part in enumerate(said[:-1]):
            self.link.answered[-1](number, part)
        self.link.answered[-1](None, said[-1])


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_one_at_a_time(calls: Calls) -> None:
    """The next goes when the one before has its answer; who has left meanwhile has none carried out."""
    for user in ("a", "b", "c"):
        assert calls.methods["CrontabRemove"]({"user": user}) is None
    assert ["a"] == [order["user"] for order in calls.link.orders]
    calls.calls.left(2)
    calls.answer("done")
    assert (["a", "c"], {1: ({}, None)}) == ([order["user"] for order in calls.link.orders], calls.replies)
    calls.answer("none c")
    assert {1: ({}, None), 3: ({"user": "c"}, "NoCrontab")} == calls.replies


def test_a_table_comes_in_parts(calls: Calls) -> None:
    """Put together in their order; the order names who asks, as the kernel says, and no other."""
    calls.methods["CrontabGet"]({})
    assert {
        "host": "/", "act": "read", "asker": 1000, "pid": 0, "user": None, "table": None, "stamp": None, "edits": False,
        "allow": None, "deny": (),
    } == calls.link.orders[0]  # fmt: skip
    calls.answer(b"# a".hex(), b"\xff\n".hex(), "done 1.2.3")
    assert {1: ({"table": "IyBh/wo=", "stamp": "1.2.3"}, None)} == calls.replies


def test_a_launcher_that_goes(calls: Calls) -> None:
    """Who was its turn is told that nobody knows; all others that nothing was done."""
    calls.methods["CrontabSet"]({"table": "IyBhCg=="})
    calls.methods["CrontabGet"]({})
    calls.link.greeted = False
    calls.answer("later 0 its sender exited")
    reasons = {ticket: (value["reason"], error) for ticket, (value, error) in calls.replies.items()}
    assert {
        1: ("it is unknown whether this was done: its sender exited; to check: crontab -l", "Refused"),
        2: ("the launcher does not answer; see its log", "Refused"),
    } == reasons
    calls.link.greeted = True
    calls.methods["CrontabGet"]({})
    assert 2 == len(calls.link.orders)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("done", ({"live": True}, None)), ("forbidden a b", ({"user": "a b"}, "NotAllowed")),
        ("denied", ({}, "PermissionDenied")), ("changed", ({}, "CrontabChanged")),
        ("refused /x: no space", ({"reason": "/x: no space"}, "Refused")),
    ],
)  # fmt: skip
def test_answers(calls: Calls, answer: str, reply: tuple[dict[str, Any], str | None]) -> None:
    """Each has its reply."""
    calls.methods["CrontabSet"]({"table": "", "stamp": "none"})
    calls.answer(answer)
    assert {1: reply} == calls.replies
    assert ("", "none") == (calls.link.orders[0]["table"], calls.link.orders[0]["stamp"])
