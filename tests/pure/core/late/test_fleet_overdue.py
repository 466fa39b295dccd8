"""Jobs of a fleet that are overdue: of its hosts one tells people, of the beginning and of the end."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.base.replace import changed
from jobqueued.child.fleet.claims import OVERDUE
from jobqueued.core.late import expectation, fleet_overdue
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import Say, TellOverdue
from jobqueued.model.events import HostSeen
from jobqueued.model.fleet import FleetReachability, SaidOverdue
from jobqueued.model.job import Job, Scope
from jobqueued.notices import happenings
from tests.support.fleet import Fleet, Host
from tests.support.world import MIDNIGHT, World, job

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


def tellers(fleet: Fleet) -> list[str]:
    """The hosts that have told people that it is so, as often as they have."""
    told = ((name, each) for name, host in sorted(fleet.hosts.items()) for each in host.told)
    return [name for name, each in told if each.event == "overdue" and happenings.of("overdue", each.fields)]


def is_overdue(host: Host) -> bool:
    """Tell whether the job is overdue for a host."""
    return host.scheduler.needs("overdue", "tick")


def known(host: Host) -> tuple[dict[str, SaidOverdue], dict[str, int]]:
    """What a host knows of what others say, and of which jobs it has heard nothing."""
    state = host.scheduler._state.fleet
    return state.overdue, state.unheard


def test_one_tells() -> None:
    """All hosts say that it is so, and the others who tells of it; the end, too, and anew the next time."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 + 120)
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
    assert [({}, {})] * 3 == list(map(known, fleet.hosts.values()))
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
    away.agent.heal()
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
    assert [{}, {}, {}] == [known(host)[1] for host in fleet.hosts.values()]


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
    fleet.pass_time(2 * 3600 + 120)
    for host in fleet.hosts.values():
        if not host.is_alive:
            host.boot()
    fleet.pass_time(120)
    assert 1 == len(tellers(fleet))
    assert all(map(is_overdue, fleet.hosts.values()))


def test_what_was_told_of_another_time() -> None:
    """What a host has told that is gone since, and could not take back, keeps nobody from telling the next time."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 + 120)
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


@pytest.mark.parametrize(
    "text", ["x", "[]", '["a"]', "7", '["a", "b"]', "{}", "null", 100_000 * "[", '["a", 1e999]', '["a", Infinity]']
)
def test_what_no_host_has_made(text: str) -> None:
    """It is taken for nothing, and replaced."""
    assert fleet_overdue.parse_report(text) is None
    fleet = fleet_of()
    fleet.etcd.put(_KEY, text)
    fleet.pass_time(2 * 3600 + 120)
    assert 1 == len(tellers(fleet))
    assert fleet_overdue.parse_report(fleet.etcd.values(OVERDUE)[_KEY]) is not None


@pytest.mark.parametrize("at", [10**30, -1, 0])
def test_what_was_said_at_no_time_of_it(at: int) -> None:
    """What is of another time, also of one to come, keeps nobody from telling."""
    fleet = fleet_of()
    fleet.etcd.put(_KEY, json.dumps(["a", at]))
    fleet.pass_time(2 * 3600 + 120)
    assert 1 == len(tellers(fleet))


def test_what_was_told_before_the_clock_was_set_back() -> None:
    """It stays said, though by this clock the time of the job is not over: it was, and nothing has succeeded since."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 + 120)
    host = fleet.hosts[tellers(fleet)[0]]
    state = host.scheduler._state
    expected = state.peek("tick").saved.expected
    assert expected is not None
    assert expected.told
    state.remember("tick", expected=expected._replace(since=host.now.wall))
    before = fleet.etcd.values(OVERDUE)
    host.happen(FleetReachability(""))
    fleet.pass_time(5)
    assert before == fleet.etcd.values(OVERDUE) != {}
    expectation.succeeded_elsewhere(Turn(state, host.now), "tick", host.now.wall - HOUR)
    assert is_overdue(host), "by a success of before that"
    state.remember("tick", expected=expected._replace(since=host.now.wall - 4 * HOUR))
    expectation.succeeded_elsewhere(Turn(state, host.now), "tick", host.now.wall - 3 * HOUR)
    assert is_overdue(host), "by one that is too long ago"


def test_a_job_of_the_host() -> None:
    """Each host tells of its own, and the fleet hears nothing."""
    fleet = Fleet(Random(1))
    for name in "ab":
        fleet.add(name, job("tick", "0 * * * *", expect=2 * HOUR)).ends = {"tick": ["failed 3"]}
    fleet.pass_time(2 * 3600 + 120)
    assert (["a", "b"], {}) == (tellers(fleet), fleet.etcd.values(OVERDUE))


def test_a_short_expectation() -> None:
    """One of a second is told once, too."""
    fleet = fleet_of(wanted=job("tick", "* * * * *", scope=Scope.FLEET, expect=SECOND))
    fleet.pass_time(600)
    assert 1 == len(tellers(fleet))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1 << 32))
@example(15384)
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


@pytest.mark.parametrize(
    ("expect", "at", "counts"),
    [
        (2 * HOUR, 5 * SECOND, False),
        (2 * HOUR, 5 * SECOND + 1, True),
        (4 * SECOND, 2 * SECOND, False),
        (4 * SECOND, 2 * SECOND + 1, True),
        (4 * SECOND, -3 * SECOND, False),
    ],
)
def test_whose_word_counts(expect: int, at: int, counts: bool) -> None:
    """That of a host that is there, as far as it was said after the last success, and not right after it."""
    fleet = fleet_of(1, wanted=changed(tick(), expect=expect))
    host = fleet.hosts["a"]
    fleet.pass_time(1)
    host.happen(HostSeen("b", "b:1", (), is_held=False), SaidOverdue("tick", json.dumps(["b", MIDNIGHT + at])))
    fleet.pass_time(expect // SECOND + 130)
    assert ["b" if counts else None] == [each.fields.get("teller") for each in said(host)]


def test_a_host_in_no_fleet() -> None:
    """It tells by itself, though the job is one of a fleet."""
    world = World(tick())
    world.pass_time(2 * 3600 + 1)
    assert [None] == [each.fields.get("teller") for each in world.said if each.event == "overdue"]


def test_what_is_gone_meanwhile() -> None:
    """What was taken back while an agent was gone is not known after it."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 + 120)
    host = fleet.hosts["a"]
    host.agent.die()
    assert {} == known(host)[0]
    fleet.etcd.put(_KEY, None)
    host.agent.start()
    fleet.pass_time(10)
    assert {} == known(host)[0]


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the fleet says nothing for a minute after it was asked, a host tells by itself."""
    fleet = fleet_of(1)
    host, asked = fleet.hosts["a"], list[TellOverdue]()
    request = host.agent.request
    monkeypatch.setattr(
        host.agent, "request", lambda it: asked.append(it) if isinstance(it, TellOverdue) else request(it)
    )
    fleet.pass_time(2 * 3600 + 59)
    assert (1, False) == (len(asked), is_overdue(host))
    fleet.pass_time(2)
    assert (1, True, ["a"]) == (len(asked), is_overdue(host), tellers(fleet))


@pytest.mark.parametrize(("when", "first"), [("before its commit", 0), ("before", 1)])
def test_who_dies_as_it_tells(when: str, first: int) -> None:
    """A host that has committed that people are told has told them, though it has not logged it; else it does later."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 - 1)
    for host in fleet.hosts.values():
        host.die(when, Say)
    fleet.pass_time(30)
    (gone,) = (host for host in fleet.hosts.values() if not host.is_alive)
    assert first == len(tellers(fleet))
    assert [] == said(gone)
    for host in fleet.hosts.values():
        host._dies = None
    gone.boot()
    fleet.pass_time(3600)
    assert [gone.store] == tellers(fleet)


def test_who_dies_for_good() -> None:
    """What a host said that is gone before it could tell is taken for nothing a minute later."""
    fleet = fleet_of()
    for host in fleet.hosts.values():
        host.die("after", TellOverdue)
    fleet.pass_time(2 * 3600 + 30)
    (gone,) = (host for host in fleet.hosts.values() if not host.is_alive)
    gone.agent.die()
    others = [host for host in fleet.hosts.values() if host is not gone]
    for host in others:
        host._dies = None
    fleet.pass_time(180)
    assert (1, [True, True]) == (len(tellers(fleet)), list(map(is_overdue, others)))


@pytest.mark.parametrize("expect", [None, 9 * HOUR])
def test_who_does_not_expect_it_any_more(expect: int | None) -> None:
    """It takes back what it has said, also where that was while it could not, so that others tell."""
    fleet = Fleet(Random(1))
    for name in "abc":
        wanted = tick() if name == "a" else changed(tick(), expect=4 * HOUR)
        fleet.add(name, wanted).ends = {"tick": ["failed 3"]}
    fleet.pass_time(3 * 3600)
    assert ["a"] == tellers(fleet)
    first = fleet.hosts["a"]
    first.is_alive, first.files = False, {"jobs.yaml": (changed(tick(), expect=expect),)}
    first.boot()
    fleet.pass_time(60)
    assert {} == fleet.etcd.values(OVERDUE)
    fleet.pass_time(2 * 3600)
    assert 2 == len(tellers(fleet))


@pytest.mark.parametrize(("how", "seconds"), [("restart", 600), ("agent", 600), ("cut", 600), ("cut", 3 * 3600)])
def test_a_success_while_it_was_away(how: str, seconds: int) -> None:
    """A host that was away for a moment, as the run of another host succeeded, hears of it."""
    daily = job("tick", "0 1 * * *", scope=Scope.FLEET, expect=25 * HOUR)
    fleet = Fleet(Random(1))
    for name in "abc":
        fleet.add(name, daily, seconds={"tick": float(seconds)})
    fleet.pass_time(25 * 3600 + seconds - 5)
    (runner,) = {host.store for host in fleet.hosts.values() if host.processes}
    away = next(host for name, host in fleet.hosts.items() if name != runner)
    if how == "restart":
        away.is_alive = False
    away.agent.die() if how == "agent" else away.agent.cut()
    fleet.pass_time(15)
    away.agent.heal()
    away.boot() if how == "restart" else away.agent.connect()
    fleet.pass_time(25 * 3600)
    assert ([], False) == (tellers(fleet), is_overdue(away))


def test_a_job_in_no_file() -> None:
    """One host tells of it, as it was one of the fleet; and a success on a host that has it counts for all."""
    fleet = fleet_of()
    fleet.pass_time(1800)
    for host in fleet.hosts.values():
        host.write("jobs.yaml")
    fleet.pass_time(2 * 3600)
    assert 1 == len(tellers(fleet))
    back = fleet.hosts[next(name for name in "abc" if name not in tellers(fleet))]
    back.ends = {}
    back.write("jobs.yaml", tick())
    fleet.pass_time(3600)
    assert not any(map(is_overdue, fleet.hosts.values()))
    assert [1, 1, 1] == [len(said(host, "overdue_over")) for host in fleet.hosts.values()]


def test_what_is_read_again() -> None:
    """Where all is read anew as nothing was away, a success of before ends nothing, and an end is no news."""
    fleet = fleet_of()
    for host in fleet.hosts.values():
        host.ends = {}
    fleet.pass_time(3600 + 60)
    for host in fleet.hosts.values():
        host.ends = {"tick": ["failed 3"]}
    fleet.pass_time(2 * 3600 + 120)
    told, heard = tellers(fleet), [len(host.heard) for host in fleet.hosts.values()]
    assert 1 == len(told)
    for host in fleet.hosts.values():
        host.agent.read_all()
    fleet.pass_time(60)
    assert all(map(is_overdue, fleet.hosts.values()))
    assert heard == [len(host.heard) for host in fleet.hosts.values()]


def test_an_odd_name() -> None:
    """A host whose name is not to be printed as it is knows its own word, and others know it."""
    fleet = Fleet(Random(1))
    for name in ("a\x1b", "b\u00ad"):
        fleet.add(name, tick()).ends = {"tick": ["failed 3"]}
    fleet.pass_time(4 * 3600)
    assert (1, 1) == (len(tellers(fleet)), fleet.wanted[_KEY])
    assert [True, True] == [str(each.fields.get("teller", "")).isprintable() for host in fleet.hosts.values()
                            for each in said(host)]  # fmt: skip


def test_a_fleet_that_comes_and_goes() -> None:
    """A host that gets no answer tells, however often it was told that it may ask."""
    fleet = fleet_of(1)
    host = fleet.hosts["a"]
    fleet.pass_time(2 * 3600 - 5)
    for _ in range(12):
        host.agent.die()
        fleet.pass_time(5)
        host.happen(FleetReachability(""))
        fleet.pass_time(5)
    assert ["a"] == tellers(fleet)


def test_who_is_heard_after_a_wait() -> None:
    """A host that could not ask for less than a minute goes by the word of one that could, which is newer than that."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 - 20)
    for host in fleet.hosts.values():
        host.agent.cut()
    fleet.pass_time(30)
    for name in ("b", "c"):
        fleet.hosts[name].agent.heal()
    fleet.pass_time(20)
    assert 1 == len(tellers(fleet))
    fleet.hosts["a"].agent.heal()
    fleet.pass_time(240)
    assert 1 == len(tellers(fleet))
    assert all(map(is_overdue, fleet.hosts.values()))
    assert [{}, {}, {}] == [known(host)[1] for host in fleet.hosts.values()]


def test_a_reload_meanwhile() -> None:
    """A file that is edited as its host waits for the fleet cuts that short for nobody."""
    fleet = fleet_of()
    fleet.pass_time(2 * 3600 - 5)
    for host in fleet.hosts.values():
        host.agent.cut()
    fleet.pass_time(10)
    for host in fleet.hosts.values():
        host.write("jobs.yaml", changed(tick(), description="the same"))
    fleet.pass_time(10)
    assert [] == tellers(fleet)
    for host in fleet.hosts.values():
        host.agent.heal()
    fleet.pass_time(120)
    assert 1 == len(tellers(fleet))


def test_a_job_that_others_have() -> None:
    """One that is in no file of a host is asked about after a gap, too."""
    daily = job("tick", "0 1 * * *", scope=Scope.FLEET, expect=25 * HOUR)
    fleet = Fleet(Random(1))
    for name in "abc":
        fleet.add(name, daily, seconds={"tick": 600.0})
    fleet.pass_time(7200)
    away = fleet.hosts["a"]
    away.write("jobs.yaml")
    fleet.pass_time(23 * 3600 + 595)
    away.agent.cut()
    fleet.pass_time(15)
    away.agent.heal()
    fleet.pass_time(3 * 3600)
    assert [] == tellers(fleet)


def test_after_an_outage() -> None:
    """Hosts that can ask again do so in turn, and hear of each other."""
    fleet = fleet_of(8)
    fleet.pass_time(2 * 3600 - 10)
    for host in fleet.hosts.values():
        host.agent.cut()
    fleet.pass_time(40)
    for host in fleet.hosts.values():
        host.agent.heal()
    fleet.pass_time(120)
    assert (1, True) == (len(tellers(fleet)), fleet.wanted[_KEY] <= 3)
