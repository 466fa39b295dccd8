"""Turns between those for whom others are held back and these, over restarts of the scheduler."""

from __future__ import annotations

import pytest

from jobqueued.base.instants import HOUR, MINUTE
from jobqueued.model.job import Claim, Job
from jobqueued.model.run import RunId
from jobqueued.queue.drains import Drains
from tests.support.world import World, job


def waits_for(name: str, resource: str, drain: int = HOUR) -> Job:
    """A job that needs both units of a resource."""
    return job(name, resources=(Claim(resource, 2),), drain=drain, priority=9)


def small(name: str, resource: str) -> Job:
    """One that takes a unit, and is held back while all are kept for another."""
    return job(name, resources=(Claim(resource, 1),))


def host(*jobs: Job) -> World:
    """A host on which somebody has a unit of each resource, nobody knows for how long."""
    world = World(*jobs, resources={"disk": 2, "gpu": 2}, seconds={it.id: 9e9 for it in jobs})
    take_half(world)
    return world


def take_half(world: World) -> None:
    """Somebody takes a unit of each resource."""
    endless = [small(f"endless-{name}", name) for name in ("disk", "gpu")]
    world.seconds |= {it.id: 9e9 for it in endless}
    world.write("endless.yaml", *endless)
    for it in endless:
        world.run(it.id)


def starts(world: World, name: str) -> int:
    """The minutes until a run of a job that waits starts."""
    run, minutes = f"{name}@1", 0
    while world.states()[run] == "waiting":
        world.pass_time(60)
        minutes += 1
        assert minutes < 600, "it waits for ever"
    return minutes


JOBS = (waits_for("first", "gpu"), waits_for("second", "disk"), small("low", "gpu"), small("lower", "disk"))


def drains_since(world: World, name: str) -> int:
    """When others were first held back for a run, as state.db has it; 0: they are not."""
    return next(run.drains_since for run, _ in world.rows.values() if run.id.job == name)


@pytest.mark.parametrize("boots", [0, 1, 2])
@pytest.mark.parametrize("order", [1, -1])
def test_a_restart_goes_on_with_the_turn(order: int, boots: int) -> None:
    """It is that of the host: for whomever else others are held back by now, and whoever is in the queue first."""
    world = host(*JOBS)
    for ticket, (name, minutes) in enumerate([("first", 20), ("low", 0), ("second", 0), ("lower", 20)]):
        world.run(name, ticket)
        world.pass_time(minutes * 60)
    for _ in range(boots):
        world.rows = dict([*world.rows.items()][::order])
        world.boot()
    assert drains_since(world, "first") == drains_since(world, "second")
    assert (20, 0) == (starts(world, "low"), starts(world, "lower"))


@pytest.mark.parametrize("boots", [0, 1, 2])
def test_who_began_a_turn_may_be_gone(boots: int) -> None:
    """It does not begin anew with whoever is left, nor with a restart."""
    world = host(*JOBS)
    for ticket, (name, minutes) in enumerate([("first", 20), ("second", 0), ("lower", 10)]):
        world.run(name, ticket)
        world.pass_time(minutes * 60)
    world.stop("first@1")
    for _ in range(boots):
        world.boot()
    assert 30 == starts(world, "lower")


@pytest.mark.parametrize("boots", [0, 1])
@pytest.mark.parametrize(("minutes", "more"), [(70, 30), (130, 0)])
def test_a_turn_takes_the_longest_drain(minutes: int, more: int, boots: int) -> None:
    """20 minutes for `short` and 20 for others; then 60 for it and `long`, and 60 for others."""
    world = host(waits_for("short", "gpu", 20 * MINUTE), waits_for("long", "disk"), *JOBS[2:])
    world.run("short")
    world.pass_time(41 * 60)
    world.run("long", 2)
    world.run("lower", 3)
    world.pass_time((minutes - 41) * 60)
    for _ in range(boots):
        world.boot()
    world.run("low", 4)
    assert more == starts(world, "low")


@pytest.mark.parametrize("boots", [0, 1])
def test_nobody_drains_who_waits_for_an_end_that_is_known(boots: int) -> None:
    """What was held back for it before that was known is over, and a restart does not take it up again."""
    world = host(waits_for("first", "gpu"), small("low", "gpu"))
    world.seconds["bounded"] = 9e3
    world.write("more.yaml", job("bounded", resources=(Claim("gpu", 1),), timeout=9 * HOUR, priority=99))
    world.run("first")
    assert drains_since(world, "first") == world.now.wall
    world.pass_time(10)
    world.run("bounded", 2)
    world.stop("endless-gpu@1")
    world.pass_time(80 * 60)
    assert 0 == drains_since(world, "first")
    for _ in range(boots):
        world.boot()
    world.run("low", 3)
    assert {"first@1": "waiting", "low@1": "waiting"}.items() <= world.states().items()


def test_who_starts_has_drained_enough() -> None:
    """One that is sent back begins anew."""
    world = host(waits_for("first", "gpu"))
    world.run("first")
    assert drains_since(world, "first") == world.now.wall
    world.stop("endless-gpu@1")
    world.pass_time(5)
    assert ("starting", 0) == (world.states()["first@1"], drains_since(world, "first"))


@pytest.mark.parametrize("passed", [HOUR - 1, HOUR, HOUR + 1])
def test_what_an_earlier_scheduler_has_said(passed: int) -> None:
    """That others go before a run was said as its first turn was over, and is not said again."""
    drains, run = Drains(), RunId("a", 1)
    drains.found(run, HOUR, 0)
    drains.begin(passed, [run])
    drains.hold_back(run, HOUR, passed)
    assert not drains.reports_lapse(run)
