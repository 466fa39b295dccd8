"""A fleet of faked hosts: each occurrence runs once, a lock has one holder, whatever hosts, networks and people do."""

from __future__ import annotations

import os
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.base.replace import changed
from jobqueued.child.fleet.claims import ROOT, Session, StoredKey
from jobqueued.child.fleet.conversation import Conversation
from jobqueued.core.fleet.fleet import _covers
from jobqueued.core.hosts.claimed_by_others import SkippedSpan
from jobqueued.core.state.holders import PARKED
from jobqueued.model import events
from jobqueued.model.commands import FleetCommand, GiveBack
from jobqueued.model.fleet import FLEET, FleetReachability
from jobqueued.model.job import CatchUp, Claim, On, Overlap, Scope
from jobqueued.model.run import LockClientId, RunId
from jobqueued.model.saved import Hold
from jobqueued.queue.locks import places_of
from jobqueued.timing.schedule import Every
from tests.support.fleet import LONGEST_WAIT, Agent, Fleet, Host, Rules
from tests.support.fleet_life import FleetLife
from tests.support.world import MIDNIGHT, World, job

SOAK = bool(os.environ.get("JOBQUEUED_SOAK"))
SEEDS = range(1, 40 if SOAK else 4)
"""The third is of a fleet whose watches lag."""
TAPE = Claim(f"{FLEET}tape", exclusive=True)
DISK = Claim("disk", exclusive=True)
TICK = job("tick", "* * * * *", scope=Scope.FLEET)
FIRST_ASKS = "other hosts of the fleet come first for this occurrence; this host claims it in"


def hosts(*jobs: object, names: str = "abc", **options: object) -> tuple[Fleet, list[Host]]:
    """A fleet whose hosts have these jobs, a moment after all were told that it is up."""
    fleet = Fleet(Random(1))
    found = [fleet.add(name, *jobs, **options) for name in names]  # type: ignore[arg-type]
    fleet.pass_time(1)
    return fleet, found


def known(host: Host) -> dict[str, str]:
    """The hosts of the fleet, as one of them knows them."""
    return {name: seen.store for name, seen in host.scheduler._state.fleet.hosts.items()}


def live(host: Host) -> list[str]:
    """The runs of a host that hold their claims."""
    return [str(run.id) for run in host.scheduler.live]


def test_one_of_three() -> None:
    """Each occurrence runs on one host; nothing is left of it on the others."""
    fleet, found = hosts(TICK)
    since = fleet.now
    fleet.pass_time(10 * 60 + 5)
    assert 10 == len(fleet.started) == sum(len(host.rows) for host in found)
    assert [] == fleet.missing(TICK, since, fleet.now)
    assert {"run"} == {key[0] for key in fleet.etcd.keys}, "locks that nobody holds"
    assert {"succeeded"} == {value.state for value in fleet.etcd.keys.values()}
    assert {found[0].mark.age} == {host.mark.age for host in found}


@pytest.mark.parametrize("seed", SEEDS)
def test_lives(seed: int) -> None:
    """Schedulers die between any two acts, networks are cut and lose answers, people pause, hold, run and stop."""
    FleetLife(seed).live(30)


BREAKS = [
    ("at_once", 1, "runs on h. and on|does not rise|is held by"),
    ("once", 1, "a late copy has changed"),
    ("own_lock", 1, "over and over again|are missing"),
    ("own_value", 5, "over and over again|are missing"),
    ("sweep", 5, "over and over again|are missing"),
    ("whole", 7, "is on hold and keeps"),
]
"""Of these the first two are tried each time, the others by `make soak`."""


@pytest.mark.parametrize(("rule", "seed", "harm"), BREAKS if SOAK else BREAKS[:2])
def test_a_rule_that_is_broken(rule: str, seed: int, harm: str) -> None:
    """Each rule by which a host claims is needed: without it this life goes wrong, which is well with it."""
    if seed not in SEEDS:
        FleetLife(seed).live(20)
    life = FleetLife(seed, Rules(**{rule: False}))
    with pytest.raises(AssertionError, match=harm):
        life.live(20)


def test_a_lock_that_was_lost() -> None:
    """A live run gets its lock back once its host is there again; where another has it, that is said."""
    fleet, (one,) = hosts(job("tape", locks=(TAPE,)), names="a", seconds={"tape": 1000})
    one.run("tape")
    fleet.pass_time(1)
    held = fleet.etcd.values("/jq/locks/")
    for holder in ("", "b other x1"):
        one.agent.cut()
        fleet.pass_time(20)
        fleet.etcd.put("/jq/locks/tape", holder or None)
        one.agent.heal()
        fleet.pass_time(1)
        lost = [each.fields for each in one.said if each.event == "lock_lost"]
        told = [{"run": "tape@1", "lock": "fleet/tape", "holder": "other on b"}] * bool(holder)
        assert (told, {"/jq/locks/tape": holder} if holder else held) == (lost, fleet.etcd.values("/jq/locks/"))
    assert ["tape@1"] == live(one)


def test_a_lock_that_another_host_has() -> None:
    """A run that lacks it waits, reserves nothing here meanwhile, and says who has it; then its turn comes."""
    tape, disk = job("tape", locks=(TAPE, DISK)), job("disk", locks=(DISK,))
    fleet, (one, two) = hosts(tape, disk, names="ab", seconds={"tape": 100})
    one.run("tape")
    fleet.pass_time(1)
    assert ["tape@1"] == live(one)
    two.run("tape")
    two.run("disk", 2)
    fleet.pass_time(1)
    assert [("disk@1", two.now.wall - 10**9)] == two.launched, "the host was kept idle for a lock of another"
    assert ["lock fleet/tape is held by tape on a"] == two.why("tape@1")
    told = {each.claim.mode for each in two.scheduler.lock_claims() if each.claim.resource == TAPE.resource}
    assert {"exclusive"} == told
    fleet.pass_time(100)
    assert ([], ["tape@1"]) == (live(one), live(two))


def test_units_that_others_leave() -> None:
    """Who could not have its units back, though there are enough of them, has not lost them to others."""
    some = job("some", locks=(Claim(f"{FLEET}licence", 2),))
    fleet, found = hosts(some, names="ab", seconds={"some": 100}, of_fleet={f"{FLEET}licence": 5})
    for host in found:
        host.run("some")
    fleet.pass_time(2)
    one = found[0]
    one.happen(events.Denied(RunId("some", 1), 0))
    assert ["some@1"] == live(one)
    assert not [each for each in one.said if each.event == "lock_lost"]


def test_what_waits_as_the_fleet_goes_down() -> None:
    """Its runs are held back in their order."""
    tick, disk = job("tick", "* * * * *", scope=Scope.FLEET, locks=(DISK,), concurrency=9), job("disk", locks=(DISK,))
    fleet, (one,) = hosts(tick, disk, names="a", seconds={"disk": 9e9})
    one.run("disk")
    for number in range(1, 4):
        one.run("tick", number + 1)
    fleet.pass_time(1)
    state = one.scheduler._state
    assert 3 == len(state["tick"].waiting)
    one.agent.cut()
    fleet.pass_time(30)
    assert [1, 2, 3] == [run.number for run in state["tick"].due]
    assert {0} == {run.drains_since for run in state.runs.values()}, "others are held back for one that does not wait"
    some = job("some", locks=(Claim(f"{FLEET}licence", 1),), concurrency=9)
    _, (one,) = hosts(some, names="a", of_fleet={f"{FLEET}licence": 5})
    for number in range(3):
        one.run("some", number + 1)
    assert 3 == len(one.scheduler._state.fleet.asked)
    one.happen(FleetReachability("no member of etcd answers"), admit=False)
    assert [1, 2, 3] == [run.number for run in one.scheduler._state["some"].due]


def test_a_lock_with_units() -> None:
    """Runs of several hosts have it at the same time, never more of it than there is; who wants it alone waits."""
    some = job("some", locks=(Claim(f"{FLEET}licence", 2),))
    alone = job("alone", locks=(Claim(f"{FLEET}licence", exclusive=True),))
    fleet, found = hosts(some, alone, seconds={"some": 100, "alone": 10}, of_fleet={f"{FLEET}licence": 5})
    for host in found:
        host.run("some")
    fleet.pass_time(2)
    assert [1, 1, 0] == sorted((len(live(host)) for host in found), reverse=True)
    assert 4 == len(fleet.etcd.values("/jq/locks/licence"))
    one = next(host for host in found if not live(host))
    first, second = dict.fromkeys(value.partition(" ")[0] for value in fleet.etcd.values("/jq/locks/licence").values())
    others = f"some on {first}, some on {second}"
    assert [f"it needs 2 of the 5 units of fleet/licence; held by {others}"] == one.why("some@1")
    one.run("alone", 2)
    fleet.pass_time(100)
    assert ["some@1"] == live(one)
    fleet.pass_time(101)
    assert ["alone@1"] == live(one)
    assert 5 == len(fleet.etcd.values("/jq/locks/licence"))
    fleet.pass_time(11)
    assert not fleet.etcd.values("/jq/locks/")


def paused(host: Host, name: str = "tick") -> str:
    """Who has a job of a host paused, by its log; "": nobody."""
    said = [each for each in host.said if each.event in ("job_paused", "job_resumed") and each.fields["job"] == name]
    return said[-1].fields["asked_by"] if said and said[-1].event == "job_paused" else ""


def test_a_pause_of_all() -> None:
    """A job of the fleet is paused on all hosts, also on one that was away; anybody resumes it, or its time is over."""
    fleet, (one, two, three) = hosts(TICK)
    three.agent.cut()
    fleet.pass_time(20)
    one.happen(events.PauseAsked(1, "tick", "alice", True))
    assert 1 not in one.replies, "answered before the fleet has it"
    fleet.pass_time(1)
    assert {} == one.replies[1].value
    three.agent.heal()
    fleet.pass_time(1)
    assert ["alice", "alice on a", "alice on a"] == [paused(host) for host in (one, two, three)]
    before = len(fleet.started)
    two.boot()
    fleet.pass_time(5 * 60)
    assert before == len(fleet.started)
    two.happen(events.PauseAsked(2, "tick", "bob", False))
    fleet.pass_time(1)
    assert two.replies[2].value["was_paused"]
    assert ["", "", ""] == [paused(host) for host in (one, two, three)]
    assert "its fleet" == [each for each in one.said if each.event == "job_resumed"][-1].fields["asked_by"]
    until = fleet.now + 130 * SECOND
    two.happen(events.PauseAsked(3, "tick", "bob", True, until))
    fleet.pass_time(100)
    assert before == len(fleet.started)
    fleet.pass_time(200)
    assert before < len(fleet.started)
    assert not fleet.etcd.values("/jq/paused/")


def test_a_pause_whose_time_is_over() -> None:
    """All resume the job then, not as it next comes due."""
    fleet, found = hosts(job("late", "0 5 * * *", scope=Scope.FLEET), names="ab")
    found[0].happen(events.PauseAsked(1, "late", "bob", True, fleet.now + 600 * SECOND))
    fleet.pass_time(599)
    assert ["bob", "bob on a"] == [paused(host, "late") for host in found]
    fleet.pass_time(2)
    assert (["", ""], {}) == ([paused(host, "late") for host in found], fleet.etcd.values("/jq/paused/"))


def test_a_pause_of_a_job_that_joins_the_fleet() -> None:
    """The pause skips the occurrences before its end, even while this host cannot reach the fleet."""
    mine = job("tick", "*/10 * * * *", catch_up=CatchUp.ALL, max_waiting=99)
    fleet, (one,) = hosts(mine, names="a")
    one.pause("tick", until=MIDNIGHT + 30 * MINUTE)
    one.write("jobs.yaml", replace(mine, scope=Scope.FLEET))
    one.agent.cut()
    fleet.pass_time(35 * 60)
    one.agent.heal()
    fleet.pass_time(60)
    assert ["00:10…00:20 paused ×2", "00:30"] == one.covered("tick")


def test_pauses_at_once() -> None:
    """Each host that asks is answered, whoever was first; the last counts."""
    fleet, found = hosts(TICK)
    for host in found:
        host.happen(events.PauseAsked(1, "tick", f"{host.store}s", True))
    fleet.pass_time(1)
    assert [{}] * 3 == [host.replies[1].value for host in found]
    assert 1 == len({paused(host).split(" ")[0] for host in found})


def test_an_end_that_comes_before_the_news() -> None:
    """A host that has not heard yet of a pause ends it all the same, and says so once it did."""
    fleet, (one, two) = hosts(TICK, names="ab")
    two.agent.delay = 3 * SECOND
    one.happen(events.PauseAsked(1, "tick", "alice", True))
    fleet.pass_time(0.1)
    assert ({}, "") == (one.replies[1].value, paused(two))
    two.happen(events.PauseAsked(2, "tick", "bob", False))
    assert 2 not in two.replies
    fleet.pass_time(20)
    assert ({}, ["", ""]) == (fleet.etcd.values("/jq/paused/"), [paused(host) for host in (one, two)])
    assert two.replies[2].error is None
    two.happen(events.PauseAsked(3, "tick", "bob", False))
    fleet.pass_time(20)
    assert not two.replies[3].value["was_paused"], "nothing is left to end, and that is answered, too"


def test_an_end_that_another_host_was_asked_for_too() -> None:
    """Of two the second is answered once it was made, too: else it would end the next pause, after its answer."""
    fleet, (one, two) = hosts(TICK, names="ab")
    one.happen(events.PauseAsked(1, "tick", "alice", True))
    fleet.pass_time(1)
    one.agent.is_busy = True  # its way to etcd
    for host in (one, two):
        host.happen(events.PauseAsked(2, "tick", "bob", False))
    fleet.pass_time(1)
    assert ({}, ["", ""]) == (fleet.etcd.values("/jq/paused/"), [paused(host) for host in (one, two)])
    two.happen(events.PauseAsked(3, "tick", "eve", True))
    fleet.pass_time(1)
    assert ([True, False], "eve on b") == ([2 in host.replies for host in (two, one)], paused(one))
    one.agent.is_busy = False
    one.agent._go_on()
    fleet.pass_time(1)
    assert ({}, None) == (fleet.etcd.values("/jq/paused/"), one.replies[2].error)


def test_a_pause_that_is_asked_anew() -> None:
    """What the agent drops as it reads all again is asked once more, so that who has asked for it has an answer."""
    fleet, (one,) = hosts(TICK, names="a")
    one.happen(events.PauseAsked(1, "tick", "alice", True))
    one.agent.read_all()
    fleet.pass_time(1)
    assert ({}, "alice") == (one.replies[1].value, paused(one))


def test_a_pause_that_was_answered() -> None:
    """Whoever has his answer asks no more: after another one has resumed the job it stays so."""
    fleet, (one, two) = hosts(TICK, names="ab")
    one.happen(events.PauseAsked(1, "tick", "alice", True))
    fleet.pass_time(1)
    two.happen(events.PauseAsked(1, "tick", "bob", False))
    fleet.pass_time(1)
    one.agent.read_all()
    fleet.pass_time(1)
    assert ["", ""] == [paused(host) for host in (one, two)]


def test_a_pause_of_a_job_that_comes_and_goes() -> None:
    """One that is gone by the answer is not known; one that comes as its fleet has it paused is paused at once."""
    fleet, (one, two) = hosts(TICK, names="ab")
    one.happen(events.PauseAsked(1, "tick", "alice", True))
    one.write("jobs.yaml")
    fleet.pass_time(1)
    assert ("NoSuchJob", {"job": "tick"}) == (one.replies[1].error, one.replies[1].value)
    one.write("jobs.yaml", TICK)
    assert ["alice", "alice on a"] == [paused(host) for host in (one, two)]


def test_what_it_has_and_has_not_come_to() -> None:
    """An occurrence of later is given back as one that may come; one that a host was lost with, as over."""
    fleet, (one,) = hosts(TICK, names="a")
    later = fleet.now // SECOND + HOUR // SECOND
    for key in (f"f{later}", f"f{later}.2"):
        one.happen(events.Ours("tick", key))
        assert GiveBack("tick", key, "over" if key.endswith(".2") else "returned") in one.did


def test_what_is_none_of_the_fleets_business() -> None:
    """Of a run that asks nothing of the fleet that is told nothing."""
    fleet, (one,) = hosts(job("own", locks=(DISK,)), names="a")
    one.run("own")
    fleet.pass_time(1)
    assert "succeeded" == one.states()["own@1"]
    assert not [it for it in one.did if isinstance(it, GiveBack)]


def test_a_pause_without_the_fleet() -> None:
    """Nobody is told that a job is paused that others may start; one that was this host's alone ends here alone."""
    tick = job("tick", "* * * * *")
    fleet, (one, two) = hosts(tick, names="ab")
    one.happen(events.PauseAsked(1, "tick", "alice", True))
    for host in (one, two):
        host.write("jobs.yaml", TICK)
    fleet.pass_time(61)
    assert ["alice", ""] == [paused(host) for host in (one, two)]
    one.happen(events.PauseAsked(5, "tick", "bob", True, fleet.now + 999 * SECOND))
    assert {} == one.replies[5].value, "not known to others, so not asked of them"
    fleet.pass_time(1)
    assert ["bob", ""] == [paused(host) for host in (one, two)]
    two.happen(events.PauseAsked(6, "tick", "eve", True))
    fleet.pass_time(1)
    assert ["bob", "eve"] == [paused(host) for host in (one, two)], "it stays its own"
    two.happen(events.PauseAsked(7, "tick", "eve", False))
    fleet.pass_time(1)
    one.happen(events.PauseAsked(2, "tick", "alice", False))
    assert ["", ""] == [paused(host) for host in (one, two)]
    one.agent.cut()
    one.happen(events.PauseAsked(3, "tick", "alice", True))
    fleet.pass_time(20)
    told = "its fleet became unreachable; it is unknown whether the fleet got the request: no member of etcd answers"
    assert told == one.replies[3].value["reason"]
    one.happen(events.PauseAsked(4, "tick", "alice", True))
    assert "is unreachable, so this host starts none of its runs" in one.replies[4].value["reason"]
    assert ["", ""] == [paused(host) for host in (one, two)]


def test_a_command_with_a_lock() -> None:
    """A person's command gets a lock of the fleet as runs do: it is told who has it, and gives it back at its end."""
    tape = job("tape", locks=(TAPE,))
    fleet, (one, two) = hosts(tape, names="ab", seconds={"tape": 100})
    first, second, third = (LockClientId(number) for number in (1, 2, 3))
    one.happen(events.LockAsked(1, first, (TAPE,), "root", False))
    fleet.pass_time(1)
    assert (":with-lock@1", str(fleet.etcd.kvs["/jq/locks/tape"]["create_revision"])) == (
        one.replies[1].value["holder"],
        one.replies[1].value["environment"]["JOBQUEUE_FENCE"],
    )
    two.happen(events.LockAsked(2, second, (TAPE,), "alice", False))
    two.happen(events.LockAsked(3, third, (TAPE,), "alice", True))
    two.run("tape", 4)
    assert "lock fleet/tape is held by with-lock on a" == two.replies[3].value["reason"]
    fleet.pass_time(1)
    assert 2 not in two.replies
    assert "lock fleet/tape is held by with-lock on a" in two.why("tape@1")
    one.boot()
    fleet.pass_time(1)
    assert ["a :with-lock c1"] == [*fleet.etcd.values("/jq/locks/").values()]
    one.unlock(first)
    fleet.pass_time(1)
    assert ":with-lock@2" == two.replies[2].value["holder"]
    two.unlock(second)
    fleet.pass_time(1)
    assert ["tape@1"] == live(two)


def test_a_lock_of_a_command_that_was_lost() -> None:
    """A command gets its lock back as runs do, once its host is there again."""
    fleet, (one,) = hosts(job("tape", locks=(TAPE,)), names="a")
    one.happen(events.LockAsked(1, LockClientId(1), (TAPE,), "root", False))
    fleet.pass_time(1)
    held = fleet.etcd.values("/jq/locks/")
    one.agent.cut()
    fleet.pass_time(20)
    fleet.etcd.put("/jq/locks/tape", None)
    one.agent.heal()
    fleet.pass_time(1)
    assert held == fleet.etcd.values("/jq/locks/") != {}


def test_a_command_as_the_fleet_goes_down() -> None:
    """It waits outside the queue from then on."""
    _, (one,) = hosts(job("tape", locks=(TAPE,)), names="a")
    first = LockClientId(1)
    one.happen(events.LockAsked(1, first, (TAPE,), "root", False))
    one.happen(FleetReachability("no member of etcd answers"), admit=False)
    state = one.scheduler._state
    assert (PARKED, False) == (state.lock_clients[first].question, first in state.admission.waiting)


def test_a_lock_that_nobody_is_known_to_have() -> None:
    """Who could not have it asks again a second later, not at once."""
    _, (one,) = hosts(job("tape", locks=(TAPE,)), names="a")
    one.run("tape")
    state, run = one.scheduler._state, RunId("tape", 1)
    one.happen(events.Denied(run, state.fleet.asked[run].number))
    assert one.now.wall + SECOND == state.runs[run].not_before


def test_who_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has ended is told by the host that has run it; those that let go of their own run of it tell nothing."""
    given = list[tuple[str, str]]()
    request = Agent.request

    def noting(agent: Agent, command: FleetCommand) -> None:
        if isinstance(command, GiveBack):
            given.append((agent.store, command.key))
        request(agent, command)

    monkeypatch.setattr(Agent, "request", noting)
    fleet, _ = hosts(TICK)
    fleet.pass_time(5 * 60 + 5)
    assert sorted((store, key) for (_, key), (store, _) in fleet.started.items()) == sorted(given)


def test_a_place_in_line() -> None:
    """It lasts as long as somebody of the host waits, over a loss of the fleet, and no longer."""
    tape = job("tape", "*/5 * * * *", scope=Scope.FLEET, locks=(TAPE,))
    fleet, (one, _) = hosts(tape, names="ab", seconds={"tape": 100})
    first, second = LockClientId(1), LockClientId(2)
    one.happen(events.LockAsked(1, first, (TAPE,), "root", False))
    fleet.pass_time(1)
    one.happen(events.LockAsked(2, second, (TAPE,), "root", False))
    fleet.pass_time(1)
    assert ["/jq/wait/a/tape"] == [*fleet.etcd.values("/jq/wait/")]
    one.happen(FleetReachability("the agent has ended"))
    one.agent.connect()
    fleet.pass_time(1)
    assert ["/jq/wait/a/tape"] == [*fleet.etcd.values("/jq/wait/")]
    fleet.pass_time(5 * 60)
    assert ["/jq/wait/a/tape", "/jq/wait/b/tape"] == sorted(fleet.etcd.values("/jq/wait/"))
    one.unlock(second)
    one.unlock(first)
    fleet.pass_time(1)
    assert 1 == len(fleet.started)
    assert not fleet.etcd.values("/jq/wait/"), "the other host, or a command that has ended, stands there still"


def test_who_has_had_its_turn_stands_at_the_end() -> None:
    """A host of which two commands wait gets the lock for one of them; then it is the other host's turn."""
    fleet, (one, two) = hosts(job("tape", locks=(TAPE,)), names="ab")
    for number, host in enumerate((one, one, two, one), 1):
        host.happen(events.LockAsked(number, LockClientId(number), (TAPE,), "root", False))
        fleet.pass_time(1)
    one.unlock(LockClientId(1))
    fleet.pass_time(1)
    assert [1, 2] == [*one.replies]
    one.unlock(LockClientId(2))
    fleet.pass_time(1)
    assert ([1, 2], [3]) == ([*one.replies], [*two.replies])


def test_more_places_than_before() -> None:
    """A run that began while its job had one place goes on with that, and loses none, as its job gets more."""
    fleet, found = hosts(TICK, seconds={"tick": 1000})
    fleet.pass_time(60)
    wide = job("tick", "* * * * *", scope=Scope.FLEET, concurrency=3)
    fleet.units.update(places_of(wide))
    for host in found:
        host.write("jobs.yaml", wide)
    for host in found:
        host.happen(FleetReachability("the agent has ended"))
        host.agent.connect()
    fleet.pass_time(125)
    assert 3 == sum(len(live(host)) for host in found)
    assert not [each for host in found for each in host.said if each.event == "lock_lost"]


def test_more_than_goes_into_a_transaction() -> None:
    """It is refused, and nothing else of the host waits for it."""
    _, (one,) = hosts(TICK, names="a", of_fleet={f"{FLEET}licence": 200})
    one.happen(events.LockAsked(1, LockClientId(1), (Claim(f"{FLEET}licence", exclusive=True),), "root", False))
    assert (
        one.replies[1].value["reason"].startswith("it needs 200 units of fleet locks at once, but can have at most 32;")
    )
    one.happen(events.LockAsked(2, LockClientId(2), (Claim(f"{FLEET}licence", 201),), "root", False))
    assert "fleet/licence has 200 units" == one.replies[2].value["reason"]


def test_a_command_that_ends_unheard() -> None:
    """What a command was granted goes back with it, also where nobody has heard the answer."""
    fleet, (one,) = hosts(TICK, names="a")
    client = LockClientId(1)
    one.happen(events.LockAsked(1, client, (TAPE,), "root", False))
    fleet.etcd.put("/jq/locks/tape", "a :with-lock c1")
    one.agent.read_all()
    one.unlock(client)
    fleet.pass_time(1)
    assert not fleet.etcd.values("/jq/locks/")


def test_a_command_without_a_fleet() -> None:
    """It waits for its fleet, or does not, as it wants; on a host that is in none it is refused."""
    fleet, (one,) = hosts(TICK, names="a")
    one.agent.cut()
    fleet.pass_time(20)
    for number, at_once in ((1, False), (2, True)):
        one.happen(events.LockAsked(number, LockClientId(number), (TAPE,), "root", at_once))
    assert "its fleet is unreachable: no member of etcd answers" == one.replies[2].value["reason"]
    assert 1 not in one.replies
    one.agent.heal()
    fleet.pass_time(1)
    assert ":with-lock@1" == one.replies[1].value["holder"]
    alone = World(TICK)
    alone.happen(events.LockAsked(7, LockClientId(7), (TAPE,), "root", False))
    assert alone.replies[7].value["reason"].startswith("this host is in no fleet; to join one:")


def test_concurrency() -> None:
    """So many runs of a job are live in the whole fleet, wherever."""
    many = job("many", "* * * * *", scope=Scope.FLEET, concurrency=2, catch_up=CatchUp.ALL, max_waiting=100)
    fleet, found = hosts(many, seconds={"many": 150})
    for _ in range(10):
        fleet.pass_time(60)
        assert sum(len(live(host)) for host in found) <= 2
    assert 2 == sum(len(live(host)) for host in found)
    assert 2 == len(fleet.etcd.values("/jq/locks/job/many"))


@pytest.mark.parametrize("in_turn", [True, False])
def test_turns(in_turn: bool) -> None:
    """A lock goes to each host that waits for it in turn, however long its way to etcd is, which without turns gets
    next to nothing.
    """
    tape = job("tape", locks=(TAPE,), overlap=Overlap.QUEUE, max_waiting=1000)
    fleet, found = hosts(tape, rules=Rules(in_turn=in_turn), seconds={"tape": 2})
    found[0].agent.delay = 50_000_000
    for number in range(1, 301):
        for host in found:
            host.run("tape", number)
    for _ in range(30):
        fleet.pass_time(10)
    shares = [len(host.launched) for host in found]
    assert sum(shares) > 120
    assert (min(shares) > 0.9 * max(shares)) is in_turn, shares
    assert (shares[0] < 0.2 * max(shares)) is not in_turn, shares


def test_a_turn_that_is_not_taken() -> None:
    """A host that stands in line, and can't start, keeps the others waiting for a moment only."""
    tape = job("tape", locks=(TAPE,))
    both, disk = job("both", locks=(TAPE, DISK)), job("disk", locks=(DISK,))
    fleet, (one, two, three) = hosts(tape, both, disk, seconds={"tape": 10, "disk": 1000})
    one.run("tape")
    two.run("disk", 1)
    fleet.pass_time(1)
    two.run("both", 2)
    fleet.pass_time(1)
    three.run("tape")
    fleet.pass_time(1)
    assert ["/jq/wait/b/tape", "/jq/wait/c/tape"] == [*fleet.etcd.values("/jq/wait/")]
    fleet.pass_time(9)
    assert ["tape@1"] == live(three)
    assert ["/jq/wait/b/tape"] == [*fleet.etcd.values("/jq/wait/")]


def test_while_it_cannot_be_asked() -> None:
    """Its jobs rest, say why, and are caught up afterwards but for what others have run; the host's own go on."""
    tick = job("tick", "* * * * *", scope=Scope.FLEET, catch_up=CatchUp.ALL, max_waiting=100)
    fleet, (one, two) = hosts(tick, job("own", "* * * * *"), names="ab")
    one.agent.cut()
    one.run("tick")
    fleet.pass_time(5 * 60 + 5)
    assert ["its fleet is unreachable: no member of etcd answers"] == one.why("tick@1")
    assert 5 == sum(run.job == "tick" for _, run in fleet.started.values() if _ == "b")
    assert 5 == sum(name.startswith("own") for name, _ in one.launched)
    two.agent.cut()
    fleet.pass_time(5 * 60)
    assert 5 == len(fleet.started), "it ran where nobody could be asked"
    one.agent.heal()
    fleet.pass_time(2 * 60)
    assert 12 == len(fleet.started)
    assert 7 == sum(host == "a" for host, _ in fleet.started.values())
    assert ["fleet_down", "fleet_up"] == [it.event for it in one.said if it.event.startswith("fleet")][-2:]


def test_another_reason_why_it_cannot_be_asked() -> None:
    """Each is told, once; that it is back, as well."""
    _, (one,) = hosts(job("tick", "* * * * *", scope=Scope.FLEET), names="a")
    one.said.clear()
    for reason in ("no member answers", "no member answers", "this host is another's", "", ""):
        one.happen(FleetReachability(reason))
    told = [(it.event, it.fields.get("reason")) for it in one.said if it.event.startswith("fleet")]
    assert [("fleet_down", "no member answers"), ("fleet_down", "this host is another's"), ("fleet_up", None)] == told


def test_those_who_come_later() -> None:
    """In a large fleet later hosts leave an occurrence to others, and say for how long; no run by hand waits for it."""
    tick = job("tick", "1 0 * * *", scope=Scope.FLEET, overlap=Overlap.SKIP)
    fleet, found = hosts(tick, names="abcdefghij")
    fleet.pass_time(59)
    late = [host for host in found if [f"{FIRST_ASKS} 1.5 s"] == host.why("tick@1")]
    assert late
    assert late[0].run("tick").error is None


def test_what_a_skip_covers() -> None:
    """The occurrences that it names, but not one that another host had already, whose loss has a record of its own."""
    keys = ("f1", "f2", "f3", "f4", "f2.2", "c2.0")
    assert ["f1", "f2", "f3"] == [key for key in keys if _covers(SkippedSpan(1, 3), key)]
    assert [] == [key for key in keys if _covers(SkippedSpan(2, 2), key)]


def test_the_hosts_of_a_fleet() -> None:
    """Each knows which have a session now, by their names; none as long as it can't ask, all once it can again."""
    fleet, (one, two, three) = hosts(TICK)
    assert {"a": "a", "b": "b", "c": "c"} == known(one) == known(three)
    two.agent.cut()
    fleet.pass_time(9)
    assert {"a", "b", "c"} == known(one).keys() == known(two).keys()
    fleet.pass_time(2)
    assert ({"a", "c"}, set()) == (known(one).keys(), known(two).keys())
    one.boot()
    two.agent.heal()
    fleet.pass_time(1)
    assert {"a", "b", "c"} == known(one).keys() == known(two).keys()


def test_a_host_that_goes_unseen() -> None:
    """A snapshot that is read anew, as news of some time are lost, tells which hosts are there no more."""
    told = Conversation(LONGEST_WAIT)
    there = {f"{ROOT}hosts/{name}": StoredKey(f"{name}:id boot", 1, 1) for name in "ab"}
    generation = told.begin(Session("a:id", "a", 1))
    told.read(generation, 5, there)
    told.complete(generation)
    assert [["host", "a", "a:id", [], False, ""], ["host", "b", "b:id", [], False, ""], ["up", ""]] == told.outbox
    told.outbox.clear()
    generation = told.begin(Session("a:id", "a", 1))
    told.read(generation, 9, {f"{ROOT}hosts/a": there[f"{ROOT}hosts/a"]})
    told.complete(generation)
    assert [["host", "a", "a:id", [], False, ""], ["host", "b", "", [], False, ""], ["up", ""]] == told.outbox


@pytest.mark.parametrize("count", [1, 3])
def test_a_host_on_hold_while_it_asks(count: int) -> None:
    """What is granted after that does not start, and goes back whole: another host starts it, or this one later."""
    fleet, (one, *others) = hosts(TICK, names="abc"[:count])
    fleet.pass_time(59)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    (asked,) = one.scheduler._state.fleet.asked
    assert ["the daemon waits for the fleet's answer"] == one.why(asked)
    name = "tick", one.scheduler.runs[asked].key
    one.happen(events.HoldAsked(1, "root", Hold("root")))
    fleet.pass_time(2)
    assert bool(others) == (name in fleet.started)
    assert ("a", asked) != fleet.started.get(name)
    assert ([] if others else [f"/jq/returned/tick/{name[1]}"]) == [*fleet.etcd.values("/jq/returned/")]
    one.happen(events.HoldAsked(2, "root", None))
    fleet.pass_time(2)
    assert name in fleet.started
    assert {} == fleet.etcd.values("/jq/returned/")


@pytest.mark.parametrize("act", ["stop", "pause", "edit"])
def test_what_people_do_while_it_asks(act: str) -> None:
    """A stop skips the run, a pause comes after it, an edit asks anew: nothing stays claimed for nobody."""
    fleet, (one,) = hosts(TICK, names="a")
    fleet.pass_time(59)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    if act == "stop":
        one.stop("tick@1")
    elif act == "pause":
        one.happen(events.PauseAsked(7, "tick", "root", True))
    else:
        one.write("jobs.yaml", job("tick", "* * * * *", scope=Scope.FLEET, priority=1))
    fleet.pass_time(0.5)
    assert ("skipped" if act == "stop" else "starting") == one.states()["tick@1"]
    assert (act != "stop") == any(key[0] == "lock" for key in fleet.etcd.keys)
    fleet.pass_time(5)
    assert ("skipped" if act == "stop" else "succeeded") == next(iter(fleet.etcd.keys.values())).state


def test_an_answer_to_an_earlier_question() -> None:
    """It changes nothing: the question was withdrawn, and asked anew by another number."""
    fleet, (one,) = hosts(TICK, names="a")
    fleet.pass_time(59)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    ((run, asked),) = one.scheduler._state.fleet.asked.items()
    one.happen(events.Granted(run, asked.number - 1, 99))
    one.happen(events.Denied(run, asked.number - 1))
    assert {} == fleet.started
    assert {run: asked} == one.scheduler._state.fleet.asked


def test_a_host_in_no_fleet() -> None:
    """A job of a fleet is invalid there, with what mends it."""
    world = World(TICK)
    remedy = "but this host belongs to none; to join one: `fleet: {etcd: …}` in jobqueued.yaml"
    assert world.scheduler.invalid(TICK).endswith(remedy)
    world.pass_time(120)
    assert [] == world.launched


@pytest.mark.parametrize("waits", [{"dependencies": ("tick",)}, {"on": (On("job", "tick"),)}])
def test_who_waits_for_a_job_of_the_fleet(waits: dict[str, Any]) -> None:
    """It is invalid, as the runs that it waits for may be on other hosts, until that is a job of this host."""
    after = job("after", "* * * * *", **waits)
    world = World(TICK, after, fleet="web")
    told = "it depends on job tick, whose runs might be on other hosts (`scope: fleet`)"
    assert [told, ""] == [world.scheduler.invalid(it) for it in (after, TICK)]
    world.write("jobs.yaml", changed(TICK, scope=Scope.HOST), after)
    assert "" == world.scheduler.invalid(after)


def test_who_hears_of_jobs_by_a_pattern() -> None:
    """It hears of the runs that are here."""
    assert "" == World(TICK, late := job("late", on=(On("jobs", "*", "failure"),)), fleet="web").scheduler.invalid(late)


def test_what_is_caught_up() -> None:
    """Hosts that come back one after another catch up the same occurrence, which so runs once."""
    tick = job("tick", "*/10 * * * *", scope=Scope.FLEET)
    fleet, found = hosts(tick)
    for host in found:
        host.agent.cut()
    fleet.pass_time(31 * 60)
    for host in found:
        host.agent.heal()
        fleet.pass_time(20)
    assert [("tick", f"f{(MIDNIGHT + 30 * MINUTE) // SECOND}")] == list(fleet.started)


ALL = {"scope": Scope.FLEET, "catch_up": CatchUp.ALL, "max_waiting": 99}


@pytest.mark.parametrize("act", ["edit", "remove", "step"])
def test_what_people_do_while_it_rests(act: str) -> None:
    """What its clock came to before that is run, or skipped for that, as of any job."""
    before = job("tick", "*/10 * * * *", **ALL)
    fleet, (one,) = hosts(before, names="a")
    one.agent.cut()
    fleet.pass_time(35 * 60)
    if act == "edit":
        one.write("jobs.yaml", job("tick", "5 * * * *", **ALL))
    elif act == "remove":
        one.write("jobs.yaml")
    else:
        one.step_clock(4 * 3600)
    one.agent.heal()
    fleet.pass_time(60)
    ran = ["00:10", "00:20", "00:30"]
    assert {
        "edit": ran,
        "remove": [f"{time} job_removed" for time in ran],
        "step": ["00:10 clock"],
    }[act] == one.covered("tick")


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_job_that_leaves_the_fleet(is_asked: bool) -> None:
    """A run that is the fleet's waits until that can be asked, and holds nothing meanwhile."""
    disk = job("disk", locks=(DISK,))
    fleet, (one,) = hosts(job("tick", "* * * * *", scope=Scope.FLEET, locks=(DISK,)), disk, names="a")
    if is_asked:
        fleet.pass_time(59)
        while not one.scheduler._state.fleet.asked:
            fleet.pass_time(0.001)
    else:
        one.agent.cut()
        fleet.pass_time(65)
    one.write("jobs.yaml", job("tick", "0 5 * * *", locks=(DISK,)), disk)
    one.agent.cut()
    fleet.pass_time(60)
    assert ["fleet"] == [word for _, word in one.scheduler.runs[RunId("tick", 1)].waits]
    one.run("disk", 2)
    fleet.pass_time(60)
    assert "succeeded" == one.states()["disk@1"]
    one.agent.heal()
    fleet.pass_time(60)
    assert {"succeeded"} == set(one.states().values())


def test_a_retry_of_what_another_host_has() -> None:
    """It ends as its last attempt has left it, and holds nothing."""
    tick = job("tick", "*/10 * * * *", scope=Scope.FLEET, retries=1, retry_delay=MINUTE, locks=(DISK,))
    fleet, (one,) = hosts(tick, names="a")
    one.ends = {"tick": ["failed 1", "succeeded"]}
    fleet.pass_time(10 * 60 + 5)
    assert "retrying" == one.states()["tick@1"]
    key = next(key for key in fleet.etcd.keys if key[0] == "run")
    fleet.etcd.put(f"/jq/runs/tick/{key[2][1:]}/1", "other lost")
    fleet.pass_time(120)
    assert "failed" == one.states()["tick@1"]
    assert set() == set(one.scheduler._state.admission.locks)


def test_between_attempts() -> None:
    """A run has its occurrence, and no lock: another host may take that meanwhile."""
    fleet, (one, two) = hosts(
        job("tick", "0 1 * * *", scope=Scope.FLEET, retries=1, retry_delay=MINUTE, locks=(TAPE,)),
        job("tape", locks=(TAPE,)), names="ab",
    )  # fmt: skip
    one.ends = two.ends = {"tick": ["failed 1", "succeeded"]}
    fleet.pass_time(3600 + 5)
    assert ["run"] == [key[0] for key in fleet.etcd.keys]
    other = two if one.states() else one
    other.run("tape")
    fleet.pass_time(5)
    assert "succeeded" == other.states()["tape@1"]
    fleet.pass_time(65)
    assert {"succeeded"} == {state for host in (one, two) for state in host.states().values()}


def test_what_is_told_to_be_ours() -> None:
    """What lives keeps it; what nobody here has is given back, and over."""
    fleet, (one,) = hosts(job("tick", "* * * * *", scope=Scope.FLEET), names="a", seconds={"tick": 30})
    fleet.pass_time(65)
    key = next(key[2] for key in fleet.etcd.keys if key[0] == "run")
    one.happen(events.Ours("tick", key), events.Ours("tick", "f60"))
    assert [GiveBack("tick", "f60", "over")] == one.did


def test_what_others_hold_is_forgotten_while_it_cannot_be_asked() -> None:
    """It is told anew when it can: what was given back meanwhile holds nobody up."""
    tape = job("tape", locks=(TAPE,))
    fleet, (one, two) = hosts(tape, names="ab", seconds={"tape": 20})
    one.run("tape")
    fleet.pass_time(5)
    two.agent.cut()
    two.run("tape")
    fleet.pass_time(60)
    two.agent.heal()
    fleet.pass_time(5)
    assert ["tape@1"] == live(two)


def test_a_clock_that_is_set_back_to_a_run_that_lives() -> None:
    """Its occurrence comes again, and is that run: it keeps its locks."""
    fleet, (one,) = hosts(
        job("tick", "0 1 * * *", scope=Scope.FLEET, overlap=Overlap.SKIP, locks=(TAPE,)), names="a",
        seconds={"tick": 12 * 3600},
    )  # fmt: skip
    fleet.pass_time(3600 + 5)
    one.step_clock(-4 * 3600)
    fleet.pass_time(5 * 3600)
    assert {"tick@1": "running"} == {run: state.replace("starting", "running") for run, state in one.states().items()}
    assert 2 == sum(key[0] == "lock" for key in fleet.etcd.keys)


def test_what_is_granted_and_never_saved() -> None:
    """It is asked for again when the clock comes there again, and is this host's."""
    fleet, (one,) = hosts(TICK, names="a")
    fleet.pass_time(59)
    rows, memories = dict(one.rows), dict(one.memories)
    while not any(key[0] == "run" for key in fleet.etcd.keys):
        fleet.pass_time(0.0001)
    one.is_alive, one.rows, one.memories = False, rows, memories
    one.boot()
    fleet.pass_time(5)
    assert {"tick@1": "succeeded"} == one.states()


def test_what_is_given_up_while_it_cannot_be_asked() -> None:
    """An occurrence of which nobody here knows whether it was granted has an end all the same, however old it is."""
    fleet, (one,) = hosts(TICK, names="a")
    fleet.pass_time(59)
    fleet.lossy = 1
    while not any(key[0] == "run" for key in fleet.etcd.keys):
        fleet.pass_time(0.001)
    one.agent.cut()
    one.stop("tick@1")
    fleet.lossy = 0
    fleet.pass_time(10 * 60)
    fleet.etcd.put("/jq/locks/job/tick", None)
    one.agent.heal()
    fleet.pass_time(5)
    assert "over" == fleet.etcd.keys["run", "tick", f"f{(MIDNIGHT + MINUTE) // SECOND}"].state


def test_a_job_that_goes_while_it_asks() -> None:
    """What was asked for it, and had no answer yet, is left to the others, who have it still."""
    fleet, (one, two) = hosts(TICK, names="ab")
    two.agent.cut()
    fleet.pass_time(58)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    one.agent.cut()
    one.write("jobs.yaml")
    fleet.pass_time(2)
    assert not any(key[0] == "run" for key in fleet.etcd.keys)
    one.agent.heal()
    fleet.pass_time(1)
    two.agent.heal()
    fleet.pass_time(5)
    assert ["b"] == [host for host, _ in fleet.started.values()]


def test_what_may_be_asked_for() -> None:
    """By job of the fleet, what comes after its cursor, and what waits from before."""
    fleet, (one,) = hosts(TICK, job("own", "* * * * *"), job("rare", "0 5 * * *", scope=Scope.FLEET), names="a")
    fleet.pass_time(10 * 60 + 5)
    ten, begin = (MIDNIGHT + 10 * MINUTE) // SECOND, MIDNIGHT // SECOND
    assert {"tick": ten + 1, "rare": begin + 1} == one.scheduler.askable()
    one.happen(events.HoldAsked(1, "root", Hold("root")))
    fleet.pass_time(3 * 60)
    assert ten + 60 == one.scheduler.askable()["tick"], "the first that waits"


def test_why_a_run_waits_for_one_that_is_asked_about() -> None:
    """A run of the host says who has what it lacks."""
    fleet, (one,) = hosts(
        job("tick", "* * * * *", scope=Scope.FLEET, locks=(DISK,)), job("disk", locks=(DISK,)), names="a"
    )
    fleet.pass_time(59)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    one.run("disk", 5)
    assert ["lock disk is held by tick@1"] == one.why("disk@1")


def test_a_host_that_leaves_the_fleet() -> None:
    """A run that is the fleet's does not start there unasked."""
    fleet, (one,) = hosts(TICK, names="a")
    one.happen(events.HoldAsked(1, "root", Hold("root")))
    fleet.pass_time(65)
    one.is_alive = False
    one.files["jobs.yaml"] = (job("tick", "0 5 * * *"),)
    one.limits = one.limits._replace(fleet="")
    one.boot()
    one.happen(events.HoldAsked(2, "root", None))
    fleet.pass_time(5)
    assert ({}, "skipped") == (fleet.started, one.states()["tick@1"])


def test_what_another_host_has_run_is_not_missed() -> None:
    """A host that could not ask for a while makes no skip of what ran elsewhere meanwhile."""
    fleet, (one, two) = hosts(TICK, names="ab")
    one.agent.cut()
    fleet.pass_time(5 * 60)
    one.agent.heal()
    fleet.pass_time(30)
    assert ({}, 5) == (one.rows, len(two.rows))


def test_what_was_taken_before_it_is_due() -> None:
    """A host whose clock is behind makes nothing of an occurrence that another has had."""
    fleet, (_, two) = hosts(TICK, names="ab")
    two.step_clock(-2)
    fleet.pass_time(2 * MINUTE / 10**9)
    assert 2 == len(fleet.started)
    assert {"a"} == {host for host, _ in fleet.started.values()}
    assert {} == two.rows


def test_fair_shares() -> None:
    """Hosts that are equally free have equal shares of what is due, whichever has the shortest way to etcd."""
    fleet, found = hosts(TICK)
    found[0].agent.delay = SECOND // 20
    fleet.pass_time(600 * 60)
    shares = [len(host.launched) for host in found]
    assert 600 == sum(shares)
    assert 150 < min(shares) <= max(shares) < 250, shares


@pytest.mark.parametrize("why", ["busy", "on hold", "without its files"])
def test_the_others_come_in_time(why: str) -> None:
    """Whoever comes first for an occurrence and does not take it keeps the others waiting for a moment only."""
    fleet, found = hosts(job("tick", "* * * * *", scope=Scope.FLEET, exclusive=False, locks=(DISK,)), names="ab")
    first, other = found
    if why == "busy":
        first.write("own.yaml", job("own", locks=(DISK,)))
        first.seconds["own"] = 10**6
        first.run("own")
    elif why == "on hold":
        first.happen(events.HoldAsked(1, "root", Hold("root")))
    else:
        first.write("jobs.yaml")
    fleet.pass_time(20 * 60)
    dues = {str(name): run.due for name, (run, _) in other.rows.items()}
    lates = [at - dues[name] for name, at in other.launched]
    assert 20 == len(lates)
    assert max(lates) < SECOND // 2
    assert (sum(late > SECOND // 4 for late in lates) > 3) == (why != "on hold"), (
        "who is on hold is waited for, or nobody"
    )


def test_what_is_left_of_the_time() -> None:
    """Who comes to an occurrence late leaves it to others for half of the time that there still is, and not longer."""
    for minute in range(1, 13):
        tick = job("tick", f"{minute} * * * *", scope=Scope.FLEET, start_deadline=5 * SECOND)
        fleet = Fleet(Random(1))
        for number in range(29):
            fleet.etcd.put(f"/jq/hosts/other{number}", f"other{number}:1")
        host = fleet.add("one", tick)
        fleet.pass_time(60 * minute - 1)
        host.is_alive = False
        host.agent.connection += 1
        fleet.pass_time(4)
        host.boot()
        fleet.pass_time(10)
        assert 1 == len(host.launched), minute


def test_what_is_expected_of_all() -> None:
    """A job of the fleet is overdue nowhere as long as some host runs it well, and on all once none does."""
    expected = job("tick", "*/10 * * * *", scope=Scope.FLEET, expect=20 * 60 * SECOND)
    fleet, found = hosts(expected, names="ab")
    found[1].happen(events.HoldAsked(1, "root", Hold("root")))
    fleet.pass_time(3 * 3600)
    assert [18, 0] == [len(host.launched) for host in found]
    overdue = [[said.event for said in host.said if said.event.startswith("overdue")] for host in found]
    assert [[], []] == overdue
    found[0].happen(events.HoldAsked(2, "root", Hold("root")))
    fleet.pass_time(3600)
    assert [["overdue"], ["overdue"]] == [[it.event for it in host.said if it.event == "overdue"] for host in found]
    found[1].happen(events.HoldAsked(3, "root", None))
    fleet.pass_time(700)
    assert all("overdue_over" in [it.event for it in host.said] for host in found)


def test_labels() -> None:
    """What wants a label runs on hosts that have it, as soon as if there were no others; why tells so elsewhere."""
    gpu = job("gpu", "* * * * *", scope=Scope.FLEET, hosts=("gpu", "big"), on=(On("event", "now"),))
    fleet = Fleet(Random(1))
    found = [fleet.add(name, gpu, labels=("gpu", "big") if name == "f" else ("gpu",)) for name in "abcdef"]
    fleet.pass_time(20 * 60 + 5)
    (able,) = (host for host in found if host.launched)
    assert ("f", 20) == (able.store, len(able.launched))
    assert max(at - run.due for (_, at), (run, _) in zip(able.launched, able.rows.values(), strict=True)) < SECOND // 10
    assert all(not host.rows for host in found if host is not able)
    for host in found:
        host.happen(events.Emitted(1, "now", "root", "x1"))
    fleet.pass_time(5)
    assert [21] == [len(host.launched) for host in found if host.rows]
    first = found[0]
    assert "with the label big" in first.scheduler._state.fleet.rest_of(gpu)
    first.run("gpu")
    fleet.pass_time(5)
    assert 1 == len(first.launched), "a person knows better"
    assert {"a": (("gpu",), False), "f": (("gpu", "big"), False)} == {
        name: (seen.labels, seen.is_held) for name, seen in first.scheduler._state.fleet.hosts.items() if name in "af"
    }


def test_nobody_with_the_label_is_there() -> None:
    """What nobody can run leaves nothing on hosts that have no label for it; who has it catches up later."""
    gpu = job("gpu", "* * * * *", scope=Scope.FLEET, hosts=("gpu",))
    fleet = Fleet(Random(1))
    plain, able = fleet.add("a", gpu), fleet.add("b", gpu, labels=("gpu",))
    fleet.pass_time(1)
    able.agent.cut()
    fleet.pass_time(5 * 60)
    assert ([], {}, {}) == (plain.launched, plain.rows, plain.scheduler.runs)
    able.agent.heal()
    fleet.pass_time(5)
    assert (1, {}) == (len(able.launched), plain.rows)


def test_a_label_that_is_gone() -> None:
    """What waits on a host that has lost a label is left to others."""
    gpu = job("gpu", "* * * * *", scope=Scope.FLEET, hosts=("gpu",), locks=(DISK,))
    fleet, (one, two) = hosts(gpu, names="ab", labels=("gpu",))
    two.agent.cut()
    one.write("own.yaml", job("own", locks=(DISK,)))
    one.seconds["own"] = 90
    one.run("own")
    fleet.pass_time(60)
    assert [] == [name for name, _ in one.launched if name.startswith("gpu")]
    one.limits = one.limits._replace(labels=())
    one.boot()
    fleet.pass_time(60)
    two.agent.heal()
    fleet.pass_time(5)
    assert [] == [name for name, _ in one.launched if name.startswith("gpu")]
    assert [] != two.launched


@pytest.mark.parametrize("every", [1, 2, 5])
def test_hosts_without_a_job(every: int) -> None:
    """Hosts that have not the job, and come first, cost a moment each, and no occurrence; nor does a short deadline."""
    often = job("often", scope=Scope.FLEET, every=every * SECOND, start_deadline=SECOND, concurrency=9)
    often = replace(often, triggers=(Every(every * SECOND),))
    fleet, found = hosts(often, names="abcdefghij")
    for host in found[3:]:
        host.write("jobs.yaml")
    since = fleet.now
    for _ in range(122):
        fleet.pass_time(1)
    assert 120 // every <= len(fleet.started) <= 120 // every + 2, (since, len(fleet.started))
    assert not [run.reason for host in found[:3] for run, _ in host.rows.values() if run.state == "skipped"]


def test_a_turn_that_comes_a_moment_too_soon() -> None:
    """A run whose timer fires before the wall clock is there is looked at again."""
    fleet, found = hosts(TICK, names="ab")
    fleet.pass_time(58.9)
    for host in found:
        host.now = host.now._replace(wall=host.now.wall - SECOND // 1000)
    fleet.pass_time(20 * 60)
    assert 20 == len(fleet.started)
