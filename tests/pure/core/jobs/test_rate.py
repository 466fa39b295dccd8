"""`rate: 3/1h`: three starts at once, and then one every 20 minutes; what is above it waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.model import events
from jobqueued.model.job import CatchUp, Claim, Job, Rate
from jobqueued.model.run import RunId
from jobqueued.model.submission import Array
from tests.support.world import World, job, submission

EACH_MINUTE = job("a", "* * * * *", rate=Rate(3, HOUR), max_waiting=100, catch_up=CatchUp.ALL)


def starts(world: World, name: str = "a") -> list[int]:
    """The minutes of the first attempts of a job, counted from its first start."""
    found = {run: instant for run, instant in reversed(world.launched) if run.startswith(f"{name}@")}
    return sorted((instant - min(found.values())) // MINUTE for instant in found.values())


def a_world(defined: Job = EACH_MINUTE, seconds: float = 5) -> World:
    return World(defined, seconds={defined.id: seconds})


def test_they_wait() -> None:
    """The starts are at the rate, and `why` and the record say for what a run waited."""
    world = a_world()
    world.pass_time(2 * 3600)
    assert [0, 1, 2, 20, 40, 60, 80, 100] == starts(world)
    assert ["its rate of 3/1h is used up; the next run can start in 1 min"] == world.why("a@9")
    waits = [what for _, what in world.rows[RunId("a", 8)][0].waits]
    assert {"rate", "concurrency", ""} == {*waits}
    assert ["rate", ""] == waits[-2:]


def test_a_restart_changes_nothing() -> None:
    """It may come at any time, also while nothing runs for an hour."""
    world = a_world()
    for _ in range(12):
        world.pass_time(590)
        world.boot()
    assert [0, 1, 2, 20, 40, 60, 80, 100] == starts(world)
    world.pass_time(3600, scheduler=False)
    world.boot()
    world.pass_time(30)
    assert 11 == len(starts(world))


def test_only_first_attempts_count() -> None:
    """A run that is retried has used up one start."""
    world = World(replace(EACH_MINUTE, retries=2, retry_delay=SECOND), seconds={"a": 1})
    world.ends["a"] = ["failed"] * 6 + ["succeeded"] * 100
    world.pass_time(30 * 60)
    assert [0, 1, 2, 20] == starts(world)


def test_the_clock_is_set() -> None:
    """A step of the clock neither gives nor takes starts."""
    for step in (-2 * 3600, 2 * 3600, 9 * 86400):
        world = World(replace(EACH_MINUTE, schedule=(), triggers=()), seconds={"a": 1})
        for ticket in range(9):
            world.run("a", ticket)
        world.pass_time(600)
        world.step_clock(step)
        before = len(world.launched)
        world.pass_time(590)
        assert (3, 3) == (before, len(world.launched)), step
        world.pass_time(20)
        assert 4 == len(world.launched), step


def test_what_waits_in_the_queue_has_its_start() -> None:
    """Runs that wait for a lock do not start above the rate when they get it."""
    lock = (Claim("tape", exclusive=True),)
    world = World(replace(EACH_MINUTE, concurrency=9), job("hog", locks=lock), seconds={"a": 1, "hog": 3600})
    world.write("jobs.yaml", replace(EACH_MINUTE, concurrency=9, locks=lock), job("hog", locks=lock))
    world.run("hog")
    world.pass_time(2 * 3600 + 70)
    assert [0, 0, 0, 20, 40, 60] == starts(world)


def test_the_rate_is_edited() -> None:
    """A lower rate counts for what waits in the queue, too; without a rate all start."""
    lock = (Claim("tape", exclusive=True),)
    wide, hog = replace(EACH_MINUTE, concurrency=9, rate=Rate(9, HOUR), locks=lock), job("hog", locks=lock)
    world = World(wide, hog, seconds={"a": 1, "hog": 1800})
    world.run("hog")
    world.pass_time(1000)
    assert 9 == len(world.scheduler["a"].waiting)
    world.write("jobs.yaml", replace(wide, rate=Rate(2, HOUR)), hog)
    assert (0, 0) == (len(world.scheduler["a"].waiting) - 2, len(world.launched) - 1)
    world.pass_time(900)
    assert [0, 0] == starts(world)
    world.write("jobs.yaml", replace(wide, rate=None), hog)
    world.pass_time(60)
    assert len(starts(world)) > 20


def test_the_host_sleeps() -> None:
    """The time of a suspend counts, and at the end of the suspend a run starts at once."""
    world = World(replace(EACH_MINUTE, schedule=(), triggers=()), seconds={"a": 1})
    for ticket in range(9):
        world.run("a", ticket)
    world.pass_time(10)
    world._advance(world.now.wall + 25 * MINUTE)
    world.now = world.now._replace(mono=world.now.mono - 25 * MINUTE)
    world.happen(events.Slept(25 * MINUTE), events.Woke())
    assert 4 == len(world.launched)
    world.pass_time(16 * 60)
    assert 5 == len(world.launched)


def test_many_checks_need_one_timer() -> None:
    """However often a job is looked at, and however many of its runs wait, one timer waits for the rate."""
    world = World(replace(EACH_MINUTE, schedule=(), triggers=()), seconds={"a": 1})
    for ticket in range(40):
        world.run("a", ticket)
    world.pass_time(10)
    before = len(world.scheduler._state.timers)
    for _ in range(100):
        world.pause("a")
        world.pause("a", pause=False)
    assert len(world.scheduler._state.timers) <= before + 1
    world.pass_time(1200)
    assert 4 == len(starts(world))


def test_the_first_that_waits_is_given_up() -> None:
    """Those after it start when the rate allows it all the same."""
    world = World(replace(EACH_MINUTE, schedule=(), triggers=()), seconds={"a": 1})
    for ticket in range(5):
        world.run("a", ticket)
    world.pass_time(10)
    world.stop("a@4")
    world.pass_time(1200)
    assert ["a@1", "a@2", "a@3", "a@5"] == [run for run, _ in world.launched]


def by_hand(rate: Rate, runs: int, **fields: Any) -> World:
    """A job without a clock, of which so many runs are asked for."""
    world = World(replace(EACH_MINUTE, schedule=(), triggers=(), rate=rate, **fields), seconds={"a": 1})
    for ticket in range(runs):
        world.run("a", ticket)
    world.pass_time(5)
    return world


def test_another_rate() -> None:
    """What was used up stays used up, however long it took to come back under the rate before."""
    slow = by_hand(Rate(1, 720 * HOUR), 2)
    slow.write("jobs.yaml", replace(slow.scheduler.catalog["a"], rate=Rate(1, HOUR)))
    slow.pass_time(3590)
    assert 1 == len(slow.launched)
    slow.pass_time(20)
    assert 2 == len(slow.launched)
    fast = by_hand(Rate(20, HOUR), 60, concurrency=99)
    fast.write("jobs.yaml", replace(fast.scheduler.catalog["a"], rate=Rate(20, 24 * HOUR)))
    fast.pass_time(3600)
    assert 20 == len(fast.launched)


@pytest.mark.parametrize("days", [-1, -30, -9000])
def test_the_clock_is_set_while_the_daemon_is_down(days: int) -> None:
    """Then at most the whole budget is used up."""
    world = by_hand(Rate(3, HOUR), 9)
    world.step_clock(days * 86400, scheduler=False)
    world.boot()
    world.pass_time(1210)
    assert 4 == len(world.launched)
    world.pass_time(1210)
    assert 5 == len(world.launched)


def test_a_host_whose_clock_is_right_only_later() -> None:
    """It boots with an old time; the step to the right time takes nothing more."""
    world = by_hand(Rate(3, HOUR), 9)
    world.step_clock(-30 * 86400, scheduler=False)
    world.boot()
    world.pass_time(20)
    world.step_clock(30 * 86400)
    world.pass_time(1210)
    assert 4 == len(world.launched)


@pytest.mark.parametrize("step", [7200, -7200])
def test_a_step_while_the_job_is_in_no_file(step: int) -> None:
    """It counts all the same."""
    world = by_hand(Rate(3, HOUR), 3)
    defined = world.scheduler.catalog["a"]
    world.write("jobs.yaml")
    world.step_clock(step)
    world.write("jobs.yaml", defined)
    for ticket in range(10, 13):
        world.run("a", ticket)
    world.pass_time(1100)
    assert 3 == len(world.launched)
    world.pass_time(110)
    assert 4 == len(world.launched)


def test_starts_that_fail_do_not_pile_up() -> None:
    """A start that failed counts when it succeeds."""
    world = World(replace(EACH_MINUTE, schedule=(), triggers=(), concurrency=50), seconds={"a": 1})
    world.full = {"run"}
    for ticket in range(30):
        world.run("a", ticket)
    world.pass_time(6 * 3600)
    assert [] == world.launched
    world.full.clear()
    world.pass_time(1190)
    assert 3 == len(world.launched)
    world.pass_time(3600)
    assert 6 <= len(world.launched) <= 7


def test_a_launch_whose_commit_failed() -> None:
    """The next daemon counts it, when it finds the attempt."""
    lock = (Claim("tape", exclusive=False),)
    world = World(
        replace(EACH_MINUTE, schedule=(), triggers=(), concurrency=9, locks=lock),
        job("hog", locks=(Claim("tape", exclusive=True),)),
        seconds={"a": 1, "hog": 60},
    )
    world.run("hog")
    for ticket in range(9):
        world.run("a", ticket)
    world.full = {"state"}
    world.pass_time(61)
    world.full.clear()
    world.boot()
    world.pass_time(600)
    assert 3 == sum(run.startswith("a@") for run, _ in world.launched)


def test_a_start_that_is_kept_for_the_queue() -> None:
    """`why` says for whom it is."""
    lock = (Claim("tape", exclusive=True),)
    world = World(
        replace(EACH_MINUTE, schedule=(), triggers=(), rate=Rate(1, HOUR), concurrency=5, locks=lock),
        job("hog", locks=lock),
        seconds={"hog": 9e4},
    )
    world.run("hog")
    world.run("a")
    world.run("a", 2)
    assert ["the starts that its rate of 1/1h allows now are for the runs in the queue: a@1"] == world.why("a@2")


def test_an_array() -> None:
    """The runs of a submission start at its rate, too."""
    world = World(seconds={"alice/1": 1})
    world.submit(submission(array=Array(1, 5), concurrency=5, rate=Rate(2, HOUR)))
    world.pass_time(3 * 3600)
    assert [0, 0, 30, 60, 90] == starts(world, "alice/1")
