"""Lines for those who watch: what is told to whom, what is kept, and how one that does not read is told so."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobqueued.control.calls.event_stream import MOST, EventStream
from jobqueued.control.protocol.access import Rank
from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.model.job import Now
from jobqueued.model.users import Owner
from tests.support.askers import asker

ALICE, BOB = Owner(1001, "alice"), Owner(1002, "bob")


class Server:
    """Who watches, by ticket, with what each was told; those of `slow` have not read the last."""

    def __init__(self) -> None:
        self.told: dict[int, list[dict[str, Any]]] = {}
        self.slow: set[int] = set()
        replies = SimpleNamespace(stream=self.reply, takes=lambda ticket: ticket not in self.slow)
        self.stream = EventStream({"alice/x": ALICE, "bob/x": BOB}.get, cast(Any, replies))

    def reply(self, ticket: int, text: str) -> bool:
        self.told.setdefault(ticket, []).append(json.loads(text))
        return True

    def watch(self, user: Owner | None = None, **chosen: Any) -> int:
        """Watch as a reader, or as this user; the ticket."""
        ticket = len(self.told) + 1
        peer = cast(Peer, type("", (), {"owner": user}))
        self.stream.watch(chosen, asker(peer, lambda: ticket, Rank.READER if user is None else Rank.STRANGER))
        return ticket

    def turn(self) -> None:
        """Turn until nobody is to be told of anything."""
        while self.stream.has_more:
            self.stream.turn(Now(0, 0))

    def lines(self, ticket: int) -> list[str]:
        """The words of all that a ticket was told."""
        return [line["message"] for answer in self.told[ticket] for line in answer["events"]]

    def start(self, run: str, pid: int = 7) -> None:
        """Say that a run has started."""
        self.stream.hear("run_started", {"run": run, "pid": pid, "late": 0})


@pytest.fixture
def server() -> Server:
    return Server()


def test_from_now_on(server: Server) -> None:
    """The first answer is there at once, and empty; what was said before it is not told."""
    server.start("a@1")
    ticket = server.watch()
    assert [{"events": [], "missed": 0}] == server.told[ticket]
    server.start("a@2")
    server.turn()
    (line,) = server.told[ticket][1]["events"]
    assert {"event": "run_started", "level": "info", "job": "a", "run": "a@2", "state": "running", "record": None} == {
        name: line[name] for name in ("event", "level", "job", "run", "state", "record")
    }
    assert line["message"] == "a@2 started: pid 7, 0 s after it was due"


def test_a_record_comes_along(server: Server) -> None:
    """The end of a run has the whole record, and a level of its own where the run has failed."""
    ticket = server.watch()
    output = {"tail": "no\n", "file": None, "bytes": 3}
    record = {
        "run": "a@1", "job": "a", "state": "failed", "reason": "exit code 3", "started": None, "ended": None,
        "output": output,
    }  # fmt: skip
    server.stream.hear("run_ended", {"record": record})
    server.turn()
    (line,) = server.told[ticket][1]["events"]
    assert (record, "warning", "failed", "a", "a@1") == tuple(
        line[name] for name in ("record", "level", "state", "job", "run")
    )


def test_what_is_chosen(server: Server) -> None:
    """By event, by job, by both."""
    one, other, both = (
        server.watch(events=["fuse"]),
        server.watch(jobs=["a"]),
        server.watch(events=["fuse"], jobs=["a"]),
    )
    server.start("a@1")
    server.stream.hear("fuse", {"job": "a"})
    server.stream.hear("fuse", {"job": "b"})
    server.stream.hear("released", {"asked_by": "uid 0"})
    server.turn()
    heads = {ticket: [line.partition(":")[0] for line in server.lines(ticket)] for ticket in (one, other, both)}
    assert heads == {one: ["a", "b"], other: ["a@1 started", "a"], both: ["a"]}


def test_an_event_that_there_is_not(server: Server) -> None:
    """It is named, and nobody is told of it for ever."""
    with pytest.raises(VarlinkError) as error:
        server.watch(events=["run_stated"])
    assert error.value.parameters["reason"].startswith("there is no event run_stated")


def test_users_see_their_own(server: Server) -> None:
    """Nothing of the host, nothing of others, and nothing of a job whose owner is not known."""
    ticket, nobody = server.watch(ALICE), server.watch(Owner(-1, ""))
    for run in ("a@1", "alice/x@1", "bob/x@1", "alice/gone@1"):
        server.start(run)
    server.stream.hear("trouble", {"text": "the disk is full"})
    record = {"run": "alice/old@1", "state": "lost", "reason": None, "started": None, "ended": None,
              "output": {"tail": ""}, "owner": {"uid": 1001, "name": "alice"}}  # fmt: skip
    server.stream.hear("run_ended", {"record": record})
    server.stream.hear("run_ended", {"record": {**record, "owner": {"uid": 2001, "name": "alice"}}})
    server.turn()
    assert [line.split()[0] for line in server.lines(ticket)] == ["alice/x@1", "alice/old@1"]
    assert server.lines(nobody) == []


def test_one_that_does_not_read(server: Server) -> None:
    """It keeps nobody from anything; what it could not be given is counted, and the rest comes in order."""
    slow, quick = server.watch(), server.watch()
    server.slow.add(slow)
    for number in range(MOST + 50):
        server.start(f"a@{number}")
        server.turn()
    assert len(server.lines(quick)) == MOST + 50
    assert len(server.told[slow]) == 1
    assert not server.stream.has_more, "nothing is tried again and again"
    server.slow.clear()
    server.turn()
    assert [50] == [answer["missed"] for answer in server.told[slow] if answer["missed"]]
    assert [line.split()[0] for line in server.lines(slow)] == [f"a@{number}" for number in range(50, MOST + 50)]


def test_a_turn_has_a_bound(server: Server) -> None:
    """So much is told in one; the loop comes back for the rest."""
    ticket = server.watch()
    for number in range(250):
        server.start(f"a@{number}")
    server.stream.turn(Now(0, 0))
    assert (len(server.lines(ticket)), server.stream.has_more) == (100, True)
    server.turn()
    assert len(server.lines(ticket)) == 250


def test_nobody_watches(server: Server) -> None:
    """Then nothing is kept, nor put into words."""
    ticket = server.watch()
    server.start("a@1")
    server.stream.left(ticket)
    server.stream.hear("run_started", {})
    assert not server.stream.has_more
    assert not server.stream._lines


def test_a_choice_that_fits_nothing_costs_no_answer(server: Server) -> None:
    """Who has chosen other lines is not woken."""
    ticket = server.watch(jobs=["b"])
    server.start("a@1")
    server.turn()
    assert len(server.told[ticket]) == 1
