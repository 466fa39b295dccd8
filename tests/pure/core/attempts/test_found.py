"""Rows that are older than the R's: what became of runs while no commit succeeded is learnt from the run directory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.model import events
from jobqueued.model.job import CatchUp, Claim, Job, Now, On
from jobqueued.model.run import Run, RunId
from tests.support.world import MIDNIGHT, World, ended, job


def found(world: World, name: str, attempt: int = 1, **fields: Any) -> events.Found:
    """What an R tells of an attempt of one of the runs of this world, or of one that it does not know."""
    run = RunId.parse(name)
    row, _ = world.rows.get(run, (None, None))
    sent = row or Run(id=run, key=fields.pop("key"), due=fields.pop("due"), queued=world.now.wall, arrival=0)
    return events.Found(run, attempt, replace(sent, **fields))


@pytest.mark.parametrize("state", ["due", "waiting"])
def test_a_run_that_waited(state: str) -> None:
    """It is live, with the claims that it was given, and its end is its end: it is not started again."""
    world = World(job("a", concurrency=1), job("other", exclusive=True), seconds={"other": 50})
    world.run("other" if state == "waiting" else "a")
    world.run("a", 2)
    run = f"a@{1 if state == 'waiting' else 2}"
    assert world.states()[run] == state
    world.processes.clear()
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), admit=False)
    name = RunId.parse(run)
    claims = (Claim("gpu", 1),)
    world.happen(found(world, run, claims=claims), events.RunStarted(name, 1, 4711, world.now.wall), admit=False)
    assert world.scheduler.runs[name].state == "running"
    assert world.scheduler.runs[name].claims == claims
    world.happen(events.RunEnded(name, 1, ended(name)), events.JobsLoaded(complete=True), events.Woke())
    assert world.states()[run] == "succeeded"
    assert run not in [started for started, _ in world.launched], "it was started again"


def test_a_retry() -> None:
    """Of a run that waits for its second attempt the first is old news, and the second is live."""
    world = World(job("a", retries=2, retry_delay=60 * SECOND))
    world.ends["a"] = ["failed 7"]
    world.run("a")
    world.pass_time(2)
    run = RunId("a", 1)
    assert world.states() == {"a@1": "retrying"}
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), admit=False)
    world.happen(found(world, "a@1", 1), events.RunEnded(run, 1, ended(run, "failed")), admit=False)
    assert world.states() == {"a@1": "retrying"}
    world.happen(found(world, "a@1", 2), admit=False)
    assert world.states() == {"a@1": "starting"}
    world.happen(events.NeverStarted(run, 2), admit=False)
    assert world.states() == {"a@1": "waiting"}
    assert world.scheduler.runs[run].attempt == 2


def test_an_attempt_after_the_live_one() -> None:
    """A row that says that the first attempt is live is older than the R of the second."""
    world = World(job("a", retries=2, resources=(Claim("gpu", 1),)), resources={"gpu": 1})
    world.run("a")
    run = RunId("a", 1)
    first = ended(run, "failed", attempts=[{"attempt": 1, "state": "failed", "started": None, "output": {"bytes": 3}}])
    world.processes.clear()
    world.happen(found(world, "a@1", 2, so_far=first), events.RunEnded(run, 1, first))
    assert (world.scheduler.runs[run].state, world.scheduler.runs[run].attempt) == ("starting", 2)
    world.happen(events.RunLost(run, 2, "its supervisor is gone"))
    _, document = world.rows[run]
    assert document is not None
    assert [attempt["state"] for attempt in document["attempts"]] == ["failed", "lost"]


def test_what_was_due_between() -> None:
    """What the clock has made due before the one that was found, and has no R, has a record all the same."""
    world = World(job("a", "0 * * * *", catch_up=CatchUp.ALL, max_waiting=9))
    due = world.scheduler.next_start("a")
    assert due is not None
    world.pass_time(0, scheduler=False)
    world.now = Now(due + 2 * HOUR + SECOND, world.now.mono + 3 * HOUR)
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), admit=False)
    name, last = RunId("a", 3), due + 2 * HOUR
    world.holding[name, 1], world.begun[name, 1] = (), world.now.wall
    world.happen(
        found(world, "a@3", key=f"c0.{last // SECOND}", due=last), events.RunEnded(name, 1, ended(name)),
        events.JobsLoaded(complete=True), events.Woke(),
    )  # fmt: skip
    world.pass_time(60)
    assert sorted(world.covered("a")) == ["01:00", "02:00", "03:00"]
    assert world.states() == {"a@3": "succeeded", "a@4": "succeeded", "a@5": "succeeded"}


@pytest.mark.parametrize("has_r", [True, False])
@pytest.mark.parametrize("key", ["bboot2", "ja@1", "da@1"])
def test_what_is_not_made_due_by_the_clock(key: str, *, has_r: bool) -> None:
    """The boot, or the end of another run, that has made it due does not do so again."""
    on = (On("job", "a", "any"),) if key == "ja@1" else ()
    dependencies = ("a",) if key == "da@1" else ()
    world = World(job("a"))
    world.run("a")
    world.processes.clear()
    world.files["jobs.yaml"] = job("a"), job("b", at_boot=key == "bboot2", on=on, dependencies=dependencies)
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), admit=False)
    first, second = RunId("a", 1), RunId("b", 1)
    told: list[events.Event] = [found(world, "b@1", key=key, due=world.now.wall)]
    told = [*told, events.RunEnded(second, 1, ended(second))]
    if not has_r:  # its record was taken over
        told = [events.Recorded(Run(id=second, key=key, due=world.now.wall, queued=world.now.wall, arrival=0))]
    loaded = events.JobsLoaded(complete=True, boot="boot2")
    world.happen(events.RunEnded(first, 1, ended(first)), *told, loaded, events.Woke())
    world.pass_time(60)
    assert world.states() == {"a@1": "succeeded"} | ({"b@1": "succeeded"} if has_r else {})


def test_nobody_knows_whose_it_is() -> None:
    """An attempt that may have run, of which only its name is known, has a record, and its number is used."""
    world = World(job("a"))
    name = RunId("a", 4)
    world.happen(events.Found(name, 1, None), events.RunLost(name, 1, "its supervisor is gone"))
    assert world.states() == {"a@4": "lost"}
    world.run("a")
    assert world.states() == {"a@4": "lost", "a@5": "starting"}


def test_what_is_found_beyond_a_clock_that_was_set_back() -> None:
    """What was covered before that is not covered again."""
    world = World(job("a", "7-56/7 0-23 * * *"))
    world.pass_time(28 * 60 + 2)
    world.step_clock(-11 * 60)
    due = MIDNIGHT + 35 * MINUTE
    told = found(world, "a@9", key=f"c0.{due // SECOND}", due=due)
    world.happen(told, events.RunEnded(told.run, 1, ended(told.run)))
    assert ["00:07", "00:14", "00:21", "00:28", "00:35"] == world.covered("a")
    world.pass_time(26 * 60)
    assert ["00:07", "00:14", "00:21", "00:28", "00:35", "00:42"] == world.covered("a")


def test_what_is_found_of_a_disabled_job() -> None:
    """What its clock would have made due beside it has no record: it was not due."""
    world = World(job("a", "*/7 * * * *", enabled=False))
    due = MIDNIGHT + 35 * MINUTE
    told = found(world, "a@9", key=f"c0.{due // SECOND}", due=due)
    world.happen(told, events.RunEnded(told.run, 1, ended(told.run)))
    assert ["00:35"] == world.covered("a")


def test_what_was_covered_before_the_clock_was_set_back() -> None:
    """Skips that no commit held lie between now and a run that R knows: they are skips again, and the run is not."""
    world = World(job("a", "7-56/7 0-23 * * *"))
    world.pass_time(7 * 60 - 1)
    world.full.add("state")
    world.pass_time(1)
    world.pass_time(24 * 60, scheduler=False)
    world.boot()
    assert {"a@1": "succeeded", "a@2": "skipped", "a@3": "starting"} == world.states()
    world.step_clock(-11 * 60)
    world.happen(events.Woke(), die_after=0)
    world.boot()
    covered = [(run.due, run.last_due or run.due) for run, _ in world.rows.values()]
    assert 4 == sum((last - first) // (7 * 60 * SECOND) + 1 for first, last in covered), world.states()


@pytest.mark.parametrize("minutes", [0, 4, 8, 15])
def test_an_era_that_was_not_saved(minutes: int) -> None:
    """A clock was set back, and no commit held that: what has started again is found in its era, which goes on."""
    world = World(job("a", "*/7 * * * *"), job("b", "7-56/7 0-23 * * *"), _both("c"))
    world.pass_time(7 * 60 - 1)
    world.full.add("state")
    world.pass_time(24 * 60)
    world.step_clock(-11 * 60)
    world.pass_time(minutes * 60)
    world.full.clear()
    world.boot()
    world.pass_time(23 * 60 - minutes * 60)
    assert _keys([7, 14, 21, 28], [21, 28, 35, 42]) == _found(world, "a")
    assert _keys([7, 14, 21, 28, 35, 42], []) == _found(world, "b")
    assert _keys([7, 9, 14, 19, 21, 28, 29], [21, 28, 35, 39, 42]) == _found(world, "c")


def _both(name: str) -> Job:
    """A job that is due each seven minutes by elapsed time, and at fixed times, one after another ten minutes."""
    return job(name, "*/7 * * * *", "9-59/10 0-23 * * *")


def _keys(first: list[int], second: list[int]) -> list[str]:
    """The keys of occurrences of two eras by the minutes at which they are due."""
    eras = enumerate((first, second))
    return sorted(f"c{era}.{MIDNIGHT // SECOND + 60 * minute}" for era, minutes in eras for minute in minutes)


def _found(world: World, name: str) -> list[str]:
    return sorted(run.key for run, _ in world.rows.values() if run.id.job == name)
