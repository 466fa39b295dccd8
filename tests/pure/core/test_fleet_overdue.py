"""Jobs of a fleet that are overdue: of its hosts one tells people, of the beginning and of the end."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.child.fleet.claims import OVERDUE
from jobqueued.commands import Say, TellOverdue
from jobqueued.core import fleet_overdue
from jobqueued.model import HOUR, MINUTE, SECOND, Job, Scope
from jobqueued.notices import happenings
from tests.support.fleet import Fleet, Host
from tests.support.world import job

_KEY = f"{OVERDUE}tick"


def tick(schedule: str = "0 * * * *", **fields: object) -> Job:
    """A job of all hosts that is to succeed every two hours."""
    return job("tick", schedule, scope=Scope.FLEET, expect=2 * HOUR, **fields)


def fleet_of(count: int = 3, seed: int = 1, wanted: Job | None = None, **options: object) -> Fleet:
    """Hosts whose runs fail."""
    fleet = Fleet(Random(seed), **options)
    for number in range(count):
        fleet.add("abcdefgh"[number], wanted or tick()).ends = {"tick": ["failed 3"]}
    return fleet


def said(host: Host, event: str = "overdue") -> list[Say]:
    """The lines of a host about a job that is overdue."""
    return [each for each in host.said if each.event == event]


def tellers(fleet: Fleet, event: str = "overdue") -> list[str]:
    """The hosts that have told people of that, as often as they have."""
    told = ((name, each) for name, host in sorted(fleet.hosts.items()) for each in said(host, event))
    return [name for name, each in told if happenings.of(event, each.fields)]


def is_overdue(host: Host) -> bool:
    """Tell whether the job is overdue for a host."""
    return host.scheduler.needs("overdue", "tick")


def test_one_tells() -> None:
    """All hosts say that it is so, and the others who tells of it; the end, too, and anew the next time."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 + 60)
    (teller,) = tellers(fleet)
    others = fleet.hosts.keys() - {teller}
    assert [{teller}] * 2 == [{each.fields["teller"] for each in said(fleet.hosts[other])} for other in others]
    assert all(map(is_overdue, fleet.hosts.values()))
    assert json.loads(fleet.etcd.values(OVERDUE)[_KEY])[0] == teller
    fleet.pass_time(6 * 3600)
    assert [teller] == tellers(fleet)
    for host in fleet.hosts.values():
        host.ends = {}
    fleet.pass_time(3600)
    assert not any(map(is_overdue, fleet.hosts.values()))
    assert {} == fleet.etcd.values(OVERDUE)
    assert [1, 1, 1] == [len(said(host, "overdue_over")) for host in fleet.hosts.values()]
    for host in fleet.hosts.values():
        host.ends = {"tick": ["failed 3"]}
    fleet.pass_time(3 * 3600)
    assert 2 == len(tellers(fleet))


def test_in_turn() -> None:
    """One host asks, and the others hear of it: a fleet of many does not ask all at once."""
    fleet = fleet_of(8)
    fleet.pass_time(3 * 3600)
    assert (1, 1) == (len(tellers(fleet)), fleet.wanted[_KEY])


def test_who_was_away() -> None:
    """A host that comes back, and hears what others have run and told meanwhile, tells nothing."""
    fleet = fleet_of()
    away = fleet.hosts["a"]
    away.is_alive = False
    away.agent.die()
    fleet.pass_time(3 * 3600)
    (teller,) = tellers(fleet)
    away.agent.start()
    away.boot()
    fleet.pass_time(10)
    assert (True, [teller]) == (is_overdue(away), tellers(fleet))


def test_what_has_run_elsewhere() -> None:
    """A host that was away while all went well tells nothing once it is back."""
    fleet = fleet_of()
    for host in fleet.hosts.values():
        host.ends = {}
    fleet.pass_time(3600 + 60)
    away = fleet.hosts["a"]
    away.is_alive = False
    away.agent.die()
    fleet.pass_time(9 * 3600)
    away.boot()
    away.agent.heal()
    fleet.pass_time(30)
    assert ([], []) == (said(away), tellers(fleet))


@pytest.mark.parametrize("cut", [("a",), ("a", "b", "c")])
def test_who_can_not_ask(cut: tuple[str, ...]) -> None:
    """A host that can't ask waits for a minute, and tells by itself: better twice than never."""
    fleet = fleet_of()
    fleet.pass_time(3600)
    for name in cut:
        fleet.hosts[name].agent.cut()
    fleet.pass_time(3600 + 30)
    assert [] == [name for name in tellers(fleet) if name in cut]
    fleet.pass_time(60)
    assert [*cut] == [name for name in tellers(fleet) if name in cut]
    for name in cut:
        fleet.hosts[name].agent.heal()
    fleet.pass_time(2 * 3600)
    assert [*cut] == [name for name in tellers(fleet) if name in cut]


def test_a_short_time_without_the_fleet() -> None:
    """Where it can be asked again within that minute, one tells."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 - 30)
    for host in fleet.hosts.values():
        host.agent.cut()
    fleet.pass_time(60)
    assert [] == tellers(fleet)
    for host in fleet.hosts.values():
        host.agent.heal()
    fleet.pass_time(60)
    assert 1 == len(tellers(fleet))


@pytest.mark.parametrize("when", ["before its commit", "before", "after"])
def test_who_dies_as_it_asks(when: str) -> None:
    """It is told once, by whoever it was left to: a host that has asked, and has died, tells once it is back."""
    fleet = fleet_of()
    for host in fleet.hosts.values():
        host.die(when, TellOverdue)
    fleet.pass_time(2 * 3600 + 60)
    for host in fleet.hosts.values():
        if not host.is_alive:
            host.boot()
    fleet.pass_time(120)
    assert 1 == len(tellers(fleet))
    assert all(map(is_overdue, fleet.hosts.values()))


def test_what_was_told_of_another_time() -> None:
    """What a host has told that is gone since, and could not take back, keeps nobody from telling the next time."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 + 60)
    (teller,) = tellers(fleet)
    fleet.hosts[teller].is_alive = False
    fleet.hosts[teller].agent.die()
    for host in fleet.hosts.values():
        host.ends = {}
    fleet.pass_time(3600)
    assert _KEY in fleet.etcd.values(OVERDUE)
    for host in fleet.hosts.values():
        host.ends = {"tick": ["failed 3"]}
    fleet.pass_time(3 * 3600)
    assert 2 == len(tellers(fleet))
    assert json.loads(fleet.etcd.values(OVERDUE)[_KEY])[0] != teller


@pytest.mark.parametrize("text", ["x", "[]", '["a"]', "7", '["a", "b"]', "{}", "null", 100_000 * "["])
def test_what_no_host_has_made(text: str) -> None:
    """It is taken for nothing, and replaced."""
    assert fleet_overdue.told(text) is None
    fleet = fleet_of()
    fleet.etcd.put(_KEY, text)
    fleet.pass_time(2 * 3600 + 60)
    assert 1 == len(tellers(fleet))
    assert fleet_overdue.told(fleet.etcd.values(OVERDUE)[_KEY]) is not None


def test_a_job_of_the_host() -> None:
    """Each host tells of its own, and the fleet hears nothing."""
    fleet = Fleet(Random(1))
    for name in "ab":
        fleet.add(name, job("tick", "0 * * * *", expect=2 * HOUR)).ends = {"tick": ["failed 3"]}
    fleet.pass_time(2 * 3600 + 60)
    assert (["a", "b"], {}) == (tellers(fleet), fleet.etcd.values(OVERDUE))


def test_a_short_expectation() -> None:
    """One of a second is told once, too."""
    fleet = fleet_of(wanted=job("tick", "* * * * *", scope=Scope.FLEET, expect=SECOND))
    fleet.pass_time(600)
    assert 1 == len(tellers(fleet))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32))
def test_any_day(seed: int) -> None:
    """However networks lose answers and hosts die: each time it is told at least once, and once where all can ask."""
    random = Random(seed)
    fleet = fleet_of(seed=seed, lossy=random.choice((0.0, 0.3)))
    told = 0
    for _ in range(4):
        for host in fleet.hosts.values():
            host.ends = {"tick": ["failed 3"]}
            if random.random() < 0.3:
                host.doom = random.randint(0, 300), random.randint(0, 3)
        fleet.pass_time(2 * 3600 + random.randint(0, 3600))
        for host in fleet.hosts.values():
            host.doom = None
            if not host.is_alive:
                host.boot()
        fleet.pass_time(3 * 3600)
        assert all(map(is_overdue, fleet.hosts.values()))
        assert 1 == len(tellers(fleet)) - told
        told = len(tellers(fleet))
        for host in fleet.hosts.values():
            host.ends = {}
        fleet.pass_time(2 * 3600)
        assert not any(map(is_overdue, fleet.hosts.values()))


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the fleet says nothing it is asked again each minute, and the host says nothing."""
    fleet = fleet_of(1)
    host, asked = fleet.hosts["a"], list[TellOverdue]()
    request = host.agent.request
    monkeypatch.setattr(
        host.agent, "request", lambda it: asked.append(it) if isinstance(it, TellOverdue) else request(it)
    )
    fleet.pass_time(2 * 3600 + 10 * MINUTE // SECOND + 1)
    assert (11, False) == (len(asked), is_overdue(host))
    monkeypatch.undo()
    fleet.pass_time(MINUTE // SECOND)
    assert (True, ["a"]) == (is_overdue(host), tellers(fleet))
