"""A fleet of faked hosts: each occurrence runs once, a lock has one holder, whatever hosts, networks and people do."""

from __future__ import annotations

import os
from random import Random

import pytest

from jobqueued import events
from jobqueued.model import MINUTE, CatchUp, Claim, Scope
from jobqueued.queue.locks import FLEET
from jobqueued.saved import Hold
from tests.support.fleet import Fleet, Host, Rules
from tests.support.fleet_life import FleetLife
from tests.support.world import World, job

SEEDS = range(1, 1000 if os.environ.get("JOBQUEUED_SOAK") else 6)
TAPE = Claim(f"{FLEET}tape", exclusive=True)
DISK = Claim("disk", exclusive=True)
TICK = job("tick", "* * * * *", scope=Scope.FLEET)


def hosts(*jobs: object, names: str = "abc", **options: object) -> tuple[Fleet, list[Host]]:
    """A fleet whose hosts have these jobs, a moment after all were told that it is up."""
    fleet = Fleet(Random(1))
    found = [fleet.add(name, *jobs, **options) for name in names]  # type: ignore[arg-type]
    fleet.pass_time(1)
    return fleet, found


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


@pytest.mark.parametrize("seed", SEEDS)
def test_lives(seed: int) -> None:
    """Schedulers die between any two acts, networks are cut and lose answers, people pause, hold, run and stop."""
    FleetLife(seed).live(30)


@pytest.mark.parametrize(
    ("rule", "seed", "harm"),
    [
        ("own_value", 5, "occurrences are missing"),
        ("own_lock", 5, "over and over again"),
        ("sweep", 1, "over and over again"),
        ("at_once", 1, "runs on h2 and on"),
    ],
)
def test_a_rule_that_is_broken(rule: str, seed: int, harm: str) -> None:
    """Each rule by which a host claims is needed: without it this life goes wrong, which is well with it."""
    FleetLife(seed).live(20)
    life = FleetLife(seed, Rules(**{rule: False}))
    with pytest.raises(AssertionError, match=harm):
        life.live(20)


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
    assert ["lock fleet/tape is held by tape/x0000000000000001 of a"] == two.why("tape@1")
    fleet.pass_time(100)
    assert ([], ["tape@1"]) == (live(one), live(two))


def test_while_it_cannot_be_asked() -> None:
    """Its jobs rest, say why, and are caught up afterwards but for what others have run; the host's own go on."""
    tick = job("tick", "* * * * *", scope=Scope.FLEET, catch_up=CatchUp.ALL, max_waiting=100)
    fleet, (one, two) = hosts(tick, job("own", "* * * * *"), names="ab")
    one.agent.cut()
    one.run("tick")
    fleet.pass_time(5 * 60 + 5)
    assert ["its fleet can't be asked: no member of etcd answers"] == one.why("tick@1")
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


def test_a_host_on_hold_while_it_asks() -> None:
    """What is granted after that does not start, and its locks go back; it has its occurrence, which starts later."""
    fleet, (one, two) = hosts(TICK, names="ab")
    two.agent.cut()
    fleet.pass_time(59)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    assert ["the fleet is asked for it"] == one.why("tick@1")
    one.happen(events.HoldAsked(1, "root", Hold("root")))
    fleet.pass_time(1)
    assert {} == fleet.started
    assert [("run", "tick")] == [key[:2] for key in fleet.etcd.keys]
    one.happen(events.HoldAsked(2, "root", None))
    fleet.pass_time(1)
    assert 1 == len(fleet.started)


@pytest.mark.parametrize("act", ["stop", "pause", "edit"])
def test_what_people_do_while_it_asks(act: str) -> None:
    """A stop skips the run, a pause keeps it back, an edit asks anew: nothing stays claimed for nobody."""
    fleet, (one,) = hosts(TICK, names="a")
    fleet.pass_time(59)
    while not one.scheduler._state.fleet.asked:
        fleet.pass_time(0.001)
    if act == "stop":
        one.stop("tick@1")
    elif act == "pause":
        one.pause("tick")
    else:
        one.write("jobs.yaml", job("tick", "* * * * *", scope=Scope.FLEET, priority=1))
    fleet.pass_time(0.5)
    states = {"stop": "skipped", "pause": "due", "edit": "starting"}
    assert states[act] == one.states()["tick@1"]
    assert (act == "edit") == any(key[0] == "lock" for key in fleet.etcd.keys)
    fleet.pass_time(5)
    assert {"stop": "skipped", "pause": "", "edit": "succeeded"}[act] == next(iter(fleet.etcd.keys.values())).state


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
    assert world.scheduler.invalid(TICK).endswith("this host is in none; to join one: fleet in jobqueued.yaml")
    world.pass_time(120)
    assert [] == world.launched


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
