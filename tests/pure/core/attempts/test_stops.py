"""Stopping, in the faked world: who is told, what is committed first, and what becomes of runs that had not started."""

from __future__ import annotations

import pytest

from jobqueued.model import events
from jobqueued.model.run import RunId
from tests.support.world import World, job


def reply(world: World, run: str) -> tuple[str | None, dict[str, object]]:
    answer = world.stop(run)
    return answer.error, answer.value


def test_a_live_run_is_told_and_is_stopping_until_it_has_ended() -> None:
    """The state says so, with who wanted it; claims are held until the end."""
    world = World(job(), job("next"), seconds={"job": 100}, max_running=1)
    world.run("job")
    world.start("job@1")
    world.run("next")
    assert reply(world, "job@1") == (None, {"state": "stopping"})
    run = world.scheduler.runs[RunId("job", 1)]
    assert (run.state, run.reason, world.stopped) == ("stopping", "stopped by root", ["job@1"])
    assert world.scheduler.explain(run.id, world.now)["reasons"] == ["stopped by root"]
    assert world.states() == {"job@1": "stopping", "next@1": "waiting"}
    world.pass_time(5)
    assert world.states() == {"job@1": "killed", "next@1": "succeeded"}


def test_a_stop_of_what_is_stopping_already() -> None:
    """Its timeout was first; that a person stopped it, too, leaves no further attempt."""
    for stopped in (False, True):
        world = World(job(retries=1), seconds={"job": 100})
        world.ends["job"] = ["timed_out"]
        world.run("job")
        run = RunId("job", 1)
        world.happen(events.RunStopping(run, 1, "timeout after 1 min"))
        if stopped:
            assert reply(world, "job@1") == (None, {"state": "stopping"})
        assert world.scheduler.runs[run].reason == "timeout after 1 min"
        world.killed.clear()
        world.pass_time(101)
        assert world.states() == {"job@1": "timed_out" if stopped else "retrying"}


def test_a_run_that_waits_never_starts() -> None:
    """It is skipped with the reason, and the next of its job takes its place."""
    world = World(job(max_waiting=5), job("other"), seconds={"other": 100}, max_running=1)
    world.run("other")
    world.run("job")
    world.run("job")
    assert world.states() == {"other@1": "starting", "job@1": "waiting", "job@2": "due"}
    assert reply(world, "job@1") == (None, {"state": "skipped"})
    assert world.rows[RunId("job", 1)][0].reason == "stopped by root"
    assert world.scheduler.runs[RunId("job", 2)].state == "waiting"
    assert reply(world, "job@2") == (None, {"state": "skipped"})
    world.pass_time(200)
    assert world.launched == [("other@1", world.launched[0][1])]


def test_asked_before_the_news_of_its_start() -> None:
    """Its supervisor may not have listened yet, so it is told again when it has started."""
    world = World(job(), seconds={"job": 100})
    world.run("job")
    assert reply(world, "job@1") == (None, {"state": "stopping"})
    world.start("job@1")
    assert world.stopped == ["job@1", "job@1"]
    assert world.states() == {"job@1": "stopping"}


def test_asked_and_never_started() -> None:
    """An attempt that did not start after all is not sent again."""
    world = World(job(), seconds={"job": 100})
    world.run("job")
    world.stop("job@1")
    world.processes.clear()
    world.happen(events.NeverStarted(RunId("job", 1), 1))
    assert (world.states(), world.rows[RunId("job", 1)][0].reason) == ({"job@1": "skipped"}, "stopped by root")
    world.pass_time(100)
    assert len(world.launched) == 1


def test_asked_again() -> None:
    """The answer is the same, the supervisor is told again, the first reason stays."""
    world = World(job(), seconds={"job": 100})
    world.run("job")
    world.start("job@1")
    world.happen(events.RunStopping(RunId("job", 1), 1, "timeout after 5 s"))
    assert reply(world, "job@1") == (None, {"state": "stopping"})
    assert world.scheduler.runs[RunId("job", 1)].reason == "timeout after 5 s"
    assert world.stopped == ["job@1"]


@pytest.mark.parametrize("die_after", [-1, 0, 1])
def test_a_scheduler_that_dies_over_it(die_after: int) -> None:
    """Committed, the intent outlives the scheduler; not committed, nobody was told and nobody is stopped."""
    world = World(job(), seconds={"job": 100})
    world.run("job")
    world.start("job@1")
    world.happen(events.StopAsked(1, RunId("job", 1), "root"), die_after=die_after)
    world.boot()
    world.pass_time(10)
    assert world.states() == {"job@1": "running" if die_after == -1 else "killed"}


def test_an_end_that_came_first() -> None:
    """A run that has ended can't be stopped, and that is said."""
    world = World(job())
    world.run("job")
    world.pass_time(5)
    assert reply(world, "job@1") == ("Refused", {"reason": "job@1 has ended"})
    assert world.stopped == []


def test_what_ends_by_itself_is_stopping_too() -> None:
    """A timeout, or children that outlive the command, show while they last."""
    world = World(job(), seconds={"job": 100})
    world.run("job")
    world.start("job@1")
    world.happen(events.RunStopping(RunId("job", 1), 1, "its command has ended and left sleep (pid 12)"))
    assert world.states() == {"job@1": "stopping"}
    assert world.said[-1].event == "run_stopping"
    assert world.stopped == [], "it knows"
    world.happen(events.RunStopping(RunId("job", 1), 2, "late news of another attempt"))
    world.happen(events.RunStopping(RunId("gone", 1), 1, "news of a run that nobody knows"))
    assert world.states() == {"job@1": "stopping"}
