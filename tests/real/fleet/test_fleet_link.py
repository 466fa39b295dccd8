"""The daemon's side of the agent of its fleet: agents that are not there, are silent, or say something else."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.fleet import lines
from jobqueued.model.events import Event
from jobqueued.model.fleet import FleetMark, FleetReachability, FleetSettings
from jobqueued.model.job import Now
from jobqueued.runs.fleet_link import FleetLink
from tests.support.host import DEADLINE

SINCE = 1000 * SECOND
NOTHING: Mapping[str, int] = {}


def link(tmp_path: Path, since: Mapping[str, int] = NOTHING) -> FleetLink:
    """One that starts no agent of its own."""
    fleet = FleetSettings(etcd=("http://127.0.0.1:2379",))
    return FleetLink(tmp_path / "fleet", fleet, "host", lambda: ("store", FleetMark()), lambda: since, None)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of an agent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(tmp_path / "fleet"))
        made.listen()
        yield made


def turned(link: FleetLink, mono: int) -> list[Event]:
    """What a turn tells."""
    return list(link.turn(Now(mono=mono, wall=0)))


def trouble(reason: str) -> list[str]:
    """The trouble that is told of that."""
    return [f"the fleet is unavailable, so this host starts none of its jobs: {reason}"]


def test_no_agent(tmp_path: Path) -> None:
    """The reason has the remedy, and stays a trouble until there is one."""
    told = link(tmp_path)
    reason = f"no agent at {tmp_path}/fleet (No such file or directory); start one there, or omit --launcher"
    assert ([FleetReachability(reason)], trouble(reason)) == (turned(told, SINCE), told.troubles)


@pytest.mark.usefixtures("listener")
def test_a_silent_agent(tmp_path: Path) -> None:
    """One that does not even say that the fleet can't be asked is hung up on, and the reason says where to look."""
    told = link(tmp_path)
    assert ([], []) == (turned(told, SINCE), told.troubles)
    assert told.deadline is not None
    assert [] == turned(told, told.deadline - 1)
    reason = "its agent does not answer; see the log of the daemon"
    assert ([FleetReachability(reason)], trouble(reason)) == (turned(told, told.deadline), told.troubles)


def test_from_when_on_it_is_told(tmp_path: Path, listener: socket.socket) -> None:
    """That is said with the first word, and again once it can't be asked, as it is told anew after that."""
    told = link(tmp_path, {"tick": 1772409660})
    turned(told, SINCE)
    agent, _ = listener.accept()
    agent.settimeout(DEADLINE)
    with agent.makefile("rb") as said:
        assert {"tick": 1772409660} == lines.decode(said.readline())[-1]
        agent.sendall(lines.encode(["up", "https://a:2379: no answer in time"]))
        (descriptor,) = told.descriptors()
        list(told.ready(descriptor, Now(mono=SINCE, wall=0)))
        told.flush()
        assert ["since", {"tick": 1772409660}] == lines.decode(said.readline())
    agent.close()
    told.close()


def test_what_an_agent_says(tmp_path: Path, listener: socket.socket) -> None:
    """Its reason is a trouble as long as it is one; then nothing more is waited for."""
    told = link(tmp_path)
    turned(told, SINCE)
    agent, _ = listener.accept()
    (descriptor,) = told.descriptors()
    for reason in ("https://a:2379: no answer in time", ""):
        agent.sendall(lines.encode(["up", reason]))
        assert [FleetReachability(reason)] == list(told.ready(descriptor, Now(mono=SINCE, wall=0)))
        assert (trouble(reason) if reason else [], None) == (told.troubles, told.deadline)
    agent.close()
    told.close()


def test_when_the_host_was_there(tmp_path: Path, listener: socket.socket) -> None:
    """What was saved of that before the agent was called is told with its mark, and as the fleet can be asked."""
    told = FleetLink(
        tmp_path / "fleet", FleetSettings(etcd=("http://127.0.0.1:2379",)), "host",
        lambda: ("store", FleetMark("age", 7, 123, "fleet")), lambda: NOTHING, None,
    )  # fmt: skip
    turned(told, SINCE)
    agent, _ = listener.accept()
    with agent:
        assert ["age", 7] == lines.decode(agent.recv(1 << 16).strip())[3]
        agent.sendall(lines.encode(["mark", "age", 9]) + lines.encode(["up", ""]))
        (descriptor,) = told.descriptors()
        happened = list(told.ready(descriptor, Now(mono=SINCE, wall=0)))
        assert [FleetMark("age", 9, 123, "fleet"), FleetReachability("", 123)] == happened
    told.close()


def test_a_host_that_comes_from_another_fleet(tmp_path: Path, listener: socket.socket) -> None:
    """The mark of that fleet says nothing of this one, so the host can go on at once."""
    told = FleetLink(
        tmp_path / "fleet", FleetSettings(etcd=("http://127.0.0.1:2379",), name="east"), "host",
        lambda: ("store", FleetMark("age", 7, 123, "west")), lambda: NOTHING, None,
    )  # fmt: skip
    turned(told, SINCE)
    agent, _ = listener.accept()
    with agent:
        assert ["", 0] == lines.decode(agent.recv(1 << 16).strip())[3]
        agent.sendall(lines.encode(["mark", "other", 2]) + lines.encode(["up", ""]))
        (descriptor,) = told.descriptors()
        happened = list(told.ready(descriptor, Now(mono=SINCE, wall=0)))
        assert [FleetMark("other", 2, 0, "east"), FleetReachability("")] == happened
    told.close()
