"""What holds back a run that is due, and what becomes of it when a timer or the end of a delay comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.core.runs.eligibility import planned
from jobqueued.model import events
from jobqueued.model.commands import Say
from jobqueued.model.run import RunId
from jobqueued.model.saved import Hold
from tests.support.world import MIDNIGHT, World, job

A, B = RunId("a", 1), RunId("a", 2)


def test_when_it_should_start() -> None:
    """By `spread` where the clock has made it due; a run by hand when it is asked for."""
    world = World(job("a", "0 1 * * *", offset=MINUTE), seconds={"a": 9e9})
    world.run("a")
    world.pass_time(3660)
    state = world.scheduler._state
    assert [MIDNIGHT, MIDNIGHT + HOUR + MINUTE] == [planned(state, state.runs[run]) for run in (A, B)]
    world.happen(events.RunStarted(A, 1, 7, MIDNIGHT + 5))
    assert Say("run_started", {"run": "a@1", "pid": 7, "late": 5}) == world.did[0]
    world.write("jobs.yaml")
    state.put_due(replace(state.runs[A], id=RunId("a", 9), trigger="schedule"))
    assert MIDNIGHT == planned(state, state.runs[RunId("a", 9)])


def test_a_pause_that_was_put_off() -> None:
    """The timer of an earlier end ends no pause that lasts longer, or until somebody ends it."""
    for until in (MIDNIGHT + 3 * HOUR, None):
        world = World(job("a"))
        world.pause("a", until=MIDNIGHT + HOUR)
        world.pause("a", until=until)
        world.pass_time(2 * 3600)
        assert (True, until) == (world.scheduler["a"].saved.paused, world.scheduler["a"].saved.paused_until)


def test_a_deadline_is_for_the_first_attempt() -> None:
    """What has run once is tried again, however late; nobody wakes up for the deadline."""
    world = World(job("a", start_deadline=5 * MINUTE, retries=1, retry_delay=HOUR))
    world.ends["a"] = ["failed 1"]
    world.run("a")
    world.pass_time(600)
    assert {"a@1": "retrying"} == world.states()
    world.boot()
    assert world.scheduler.runs[A].not_before == world.scheduler.next_wakeup(world.now)


def test_a_retry_of_what_has_less_room() -> None:
    """It waits for the runs that are live."""
    world = World(job("a", concurrency=3, retries=1, retry_delay=MINUTE))
    world.ends["a"] = ["failed 1"]
    world.run("a")
    world.pass_time(2)
    world.seconds["a"] = 9e9
    for ticket in (2, 3):
        world.run("a", ticket)
    assert {"a@1": "retrying", "a@2": "starting", "a@3": "starting"} == world.states()
    world.write("jobs.yaml", job("a", concurrency=2, retries=1, retry_delay=MINUTE))
    world.pass_time(120)
    assert "due" == world.states()["a@1"]


def test_what_rests() -> None:
    """A run that was in the queue at a restart, and waits for a dependency by now, ages no more."""
    world = World(job("a", "0 1 * * *"), job("hog", priority=9), job("d"), max_running=1, seconds={"hog": 9e9})
    world.run("hog")
    world.pass_time(3700)
    assert "waiting" == world.states()["a@1"]
    world.files["jobs.yaml"] = (job("a", "0 1 * * *", dependencies=("d",)), *world.files["jobs.yaml"][1:])
    world.pass_time(20, scheduler=False)
    world.boot()
    run = world.scheduler.runs[A]
    assert ("due", 0, 120 * SECOND, world.now.wall) == (run.state, run.since, run.waited, run.held)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"retries": 0}, "exit code 1; no retry: the job now has fewer retries"),
        ({"retries": 0, "failover": "y"}, None),
        ({"retries": 1}, None),
    ],
)
def test_what_a_further_attempt_is_after_an_edit(edit: dict[str, Any], reason: str | None) -> None:
    """The failover, if the job has one instead; nothing where it has no such attempt any more."""
    world = World(job("a", retries=2, retry_delay=MINUTE))
    world.ends["a"] = ["failed 1"]
    world.run("a")
    world.pass_time(2)
    world.seconds["a"] = 9e9
    world.write("jobs.yaml", job("a", retry_delay=MINUTE, **edit))
    world.pass_time(90)
    row = world.rows[A][0]
    if reason is not None:
        assert ("failed", reason) == (row.state, row.reason)
    else:
        assert ("starting", "failover" in edit) == (row.state, row.failover)


def test_timers_of_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are forgotten as new ones come."""
    monkeypatch.setattr("jobqueued.core.state.timers._MANY", 5)
    world = World(job("a", start_deadline=HOUR))
    for ticket in range(20):
        world.run("a", ticket)
        world.pass_time(2)
    assert len(world.scheduler._state.timers) < 12


def test_the_end_of_a_wait_for_a_dependency() -> None:
    """At its very instant, unless a hold lasts, of which the run is told the first."""
    world = World(job("a", "0 1 * * *", dependencies=("d",), dependency_timeout=HOUR), job("d"))
    world.happen(events.HoldAsked(9, "root", Hold("root")))
    world.pass_time(3600)
    told = world.scheduler.explain(A, world.now)
    why = "dependency d: it has not run in time; waiting for its next success"
    held = "the host is on hold by root: nothing new starts; to end it: jobqueuectl release"
    assert ([held, f"{why}; it waits at most 1 h longer"], [why]) == (told["reasons"], told["dependencies"])
    world.pass_time(3599)
    assert {"a@1": "due"} == world.states()
    world.pass_time(1)
    assert {"a@1": "skipped"} == world.states()
