"""What a person should look at: jobs that are invalid, fail or are paused, runs that are late; since when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_datetime
from jobqueued.control.views.views import condition, exclusive, status
from jobqueued.core.explain.attention import Attention, is_over
from jobqueued.model import events
from jobqueued.model.job import Job, On, Overlap
from jobqueued.model.notify import Late
from jobqueued.model.run import RunId
from jobqueued.timing.schedule import At
from tests.support.world import MIDNIGHT, World, job


def seen(world: World) -> list[tuple[str, str, int | None]]:
    """Kind, job or run, and the minutes from midnight since when it is so."""
    found = world.scheduler.attention(world.now)
    since = [(one, one.since) for one in found]
    return [
        (one.kind, one.job if one.kind == "failing" else str(one.run or one.job), at and (at - MIDNIGHT) // MINUTE)
        for one, at in since
    ]


def test_nothing() -> None:
    """A job that succeeds, one that has never run and one that waits for its turn in time need nobody."""
    world = World(job("good", "*/10 * * * *"), job("new"))
    world.pass_time(700)
    assert [] == seen(world)


def test_failing_since_the_first_failure_in_a_row() -> None:
    """The time is that of the first failure after the last success, over restarts too; a success ends it."""
    world = World(job("a", "*/10 * * * *"))
    for end in ("failed", "succeeded", "failed", "timed_out", "failed"):
        world.ends["a"] = [end]
        world.pass_time(601)
    assert [("failing", "a", 30)] == seen(world)
    world.boot()
    assert [("failing", "a", 30)] == seen(world)
    world.ends["a"] = ["succeeded"]
    world.pass_time(600)
    assert [] == seen(world)


def test_failing_for_a_reason() -> None:
    """The last run that failed is named, with its reason."""
    world = World(job("a", "*/10 * * * *"))
    world.ends["a"] = ["failed 3"]
    world.pass_time(1201)
    (found,) = world.scheduler.attention(world.now)
    assert ("a@2", "exit code 3") == (str(found.run), found.reason)


def test_who_is_alone() -> None:
    """The live run of an exclusive job is named, as nothing runs beside it; no other."""
    world = World(job("a"), job("x", exclusive=True), seconds={"a": 9, "x": 9})
    for ticket, name in enumerate(("a", "x")):
        world.run(name, ticket + 1)
    world.pass_time(1)
    assert {"exclusive": None} == exclusive(world.scheduler)
    world.pass_time(10)
    assert {"exclusive": "x@1"} == exclusive(world.scheduler)


def test_a_deliberate_stop_is_no_failure() -> None:
    """A job whose run somebody stopped, live or between attempts, or a newer one replaced, is as it was before."""
    world = World(job("a", retries=1, retry_delay=HOUR), job("b", overlap=Overlap.REPLACE), seconds={"a": 9, "b": 9})
    world.run("a")
    world.pass_time(1)
    world.stop("a@1")
    world.run("b", 2)
    world.pass_time(1)
    world.run("b", 3)
    world.pass_time(20)
    assert [{"a@1": "killed", "b@1": "killed", "b@2": "succeeded"}, []] == [world.states(), seen(world)]
    assert {"a": "Idle", "b": "Idle"} == statuses(world)
    world.ends["a"] = ["failed"]
    world.run("a", 4)
    world.pass_time(20)
    world.stop("a@2")
    assert [] == seen(world)
    world.run("a", 5)
    world.pass_time(2 * 3600)
    assert ["failing"] == [kind for kind, _, _ in seen(world)]
    since = seen(world)
    world.run("a", 6)
    world.pass_time(1)
    world.stop("a@4")
    world.pass_time(20)
    assert (since, "Failed") == (seen(world), statuses(world)["a"])


def statuses(world: World) -> dict[str, str]:
    """The word for each job."""
    jobs = world.scheduler.catalog
    return {one.id: str(status(one, condition(world.scheduler, one))) for one in jobs}


def test_disabled_or_removed_ones_fail_nobody() -> None:
    """A job that was disabled, or is in no file any more, is not told of."""
    world = World(job("a", "*/10 * * * *"))
    world.ends["a"] = ["failed"]
    world.pass_time(601)
    world.write("jobs.yaml", job("a", "*/10 * * * *", enabled=False))
    assert [] == seen(world)
    world.write("jobs.yaml")
    assert [] == seen(world)


def test_late() -> None:
    """A run of the clock is late an hour after it was due, or after its job's grace, until another is known to have
    started; one that a person wants is not.
    """
    patient = job("patient", "5 0 * * *", grace=2 * HOUR)
    world = World(job("long", "1 0 * * *"), job("next", "5 0 * * *"), patient, seconds={"long": 9e4}, max_running=1)
    world.pass_time(5 * 60)
    world.start("long@1")
    world.happen(events.RunAsked(1, "patient", "root", "x1"))
    world.pass_time(61 * 60)
    assert [("late", "next@1", 5)] == seen(world)
    world.boot()
    assert [("late", "next@1", 5)] == seen(world)
    world.pass_time(119 * 60)
    assert [("late", "next@1", 5)] == seen(world)
    world.pass_time(60)  # of its time, which a restart begins anew
    assert [("late", "next@1", 5), ("late", "patient@1", 5)] == seen(world)


def test_invalid_and_paused() -> None:
    """A job that can't run here is told of with the reason, a pause with its end."""
    world = World(
        job("a", dependencies=("nobody",)), job("b", user="bob"), job("c"), job("d", user="carol"),
        users={"bob": "no user 'bob'"},
    )  # fmt: skip
    world.happen(events.PauseAsked(1, "c", "root", pause=True, until=MIDNIGHT + HOUR))
    found = [(one.kind, one.job, one.reason, one.until) for one in world.scheduler.attention(world.now)]
    unknown = "it depends on job nobody, which does not exist"
    expected = [("invalid", "a", unknown, None), ("invalid", "b", "no user 'bob'", None)]
    assert [*expected, ("paused", "c", None, MIDNIGHT + HOUR)] == found


def test_who_waits_for_a_clock_that_was_set_back() -> None:
    """Jobs with a fixed time that comes again, until the clock is where it was; of others, and of what is over, nothing
    is said.
    """
    fixed, both = job("fixed", "0,20 0-23 * * *"), job("both", "*/10 * * * *", "30 0-23 * * *")
    at = replace(job("at", at=MIDNIGHT + 40 * MINUTE), triggers=(At(to_datetime(MIDNIGHT + 40 * MINUTE)),))
    others = job("wild", "*/10 * * * *"), job("seldom", "0 0 * * *"), job("off", "0,20 0-23 * * *", enabled=False)
    world = World(fixed, both, at, *others)
    world.pass_time(50 * 60)
    assert [] == seen(world)
    world.step_clock(-50 * 60)
    found = {one.job: one.until for one in world.scheduler.attention(world.now)}
    assert {"both": MIDNIGHT + 50 * MINUTE, "fixed": MIDNIGHT + 20 * MINUTE} == found
    world.boot()
    words = [one.reason for one in world.scheduler.attention(world.now) if one.job == "fixed"]
    assert ["fixed times until 2026-03-02T00:20:00.000000Z were handled before the clock was set back"] == words
    world.pass_time(20 * 60)
    assert ["both"] == [one.job for one in world.scheduler.attention(world.now)]
    world.pass_time(30 * 60)
    assert [] == seen(world)


def test_late_is_nobody_that_is_paused() -> None:
    """A run that waits as its job is paused is not late: somebody wants that."""
    world = World(job("long", "1 0 * * *"), job("next", "5 0 * * *"), seconds={"long": 9e4}, max_running=1)
    world.pass_time(300)
    world.start("long@1")
    world.pass_time(3500)
    world.happen(events.PauseAsked(1, "next", "root", pause=True))
    world.pass_time(6000)
    assert [("paused", "next", None)] == seen(world)
    assert replace(world.scheduler["next"].saved, paused=False).is_noteworthy is False


def test_who_has_missed_nothing() -> None:
    """A one-shot job is missed if nothing of it ever ran, or may run one day: by an event, at a boot, by its clock."""
    past = replace(job("a", at=MIDNIGHT - 1), triggers=(At(to_datetime(MIDNIGHT - 1)),))
    daily = replace(past, triggers=(*past.triggers, *job("a", "0 1 * * *").triggers))
    others = [replace(past, on=(On("event", "go"),)), replace(past, at_boot=True), replace(past, enabled=False), daily]
    assert [["missed"], [], [], [], []] == [
        [one.kind for one in World(it).scheduler.attention(World(it).now)] for it in (past, *others)
    ]
    world = World(past)
    world.pause("a")
    assert ["paused"] == [one.kind for one in world.scheduler.attention(world.now)]
    world.pause("a", pause=False)
    world.run("a")
    assert [] == [one.kind for one in world.scheduler.attention(world.now)]
    world.pass_time(60)
    assert [] == [one.kind for one in world.scheduler.attention(world.now)]


def test_an_at_that_was_past_is_missed() -> None:
    """A job whose only instant was over when its file came is Missed, and needs somebody; one that has run is
    Completed, and so is a missed one that somebody has run."""
    world = World(replace(job("late", at=MIDNIGHT - 1), triggers=(At(to_datetime(MIDNIGHT - 1)),)))
    world.write("more.yaml", replace(job("once", at=MIDNIGHT + HOUR), triggers=(At(to_datetime(MIDNIGHT + HOUR)),)))
    world.pass_time(7200)
    assert {"late": "Missed", "once": "Completed"} == statuses(world)
    assert [("missed", "late", -1)] == seen(world)
    world.boot()
    assert ["missed"] == [kind for kind, _, _ in seen(world)]
    world.run("late")
    world.pass_time(60)
    assert [] == seen(world)


def at(*instants: int, **fields: Any) -> Job:
    """A job that is due at these instants."""
    triggers = tuple(At(to_datetime(instant)) for instant in instants)
    return replace(job("a", **fields), at=instants[0], triggers=triggers)


def test_a_live_run_that_is_late_and_a_job_that_is_overdue() -> None:
    """Since when it has run, and since when nothing has succeeded, each with the reason."""
    world = World(job("a", late=Late(after=MINUTE), expect=HOUR), seconds={"a": 9e9})
    world.pass_time(60)
    world.run("a")
    world.pass_time(30)
    world.start("a@1")
    world.pass_time(HOUR // SECOND)
    late = "it was due 1 h ago and has not ended; it should end within 1 min"
    assert [
        Attention("late", "a", RunId("a", 1), MIDNIGHT + 90 * SECOND, reason=late),
        Attention("overdue", "a", since=MIDNIGHT, reason="a@1 has not ended"),
    ] == list(world.scheduler.attention(world.now))


@pytest.mark.parametrize(
    ("defined", "following", "had_some", "expected"),
    [
        (at(MIDNIGHT), None, True, True),
        (at(MIDNIGHT), 1, True, False),
        (at(MIDNIGHT), None, False, False),
        (at(MIDNIGHT, at_boot=True), None, True, False),
        (at(MIDNIGHT, on=(On("event", "go"),)), None, True, False),
        (job("a"), None, True, False),
    ],
)
def test_a_job_that_is_over(defined: Job, following: int | None, had_some: bool, expected: bool) -> None:
    """The clock has made it due, does so no more, and nothing else does."""
    assert expected is is_over(defined, following, had_some=had_some)


def missed(world: World) -> list[int | None]:
    """Since when something was missed, in minutes from midnight; nothing else is to be looked at."""
    assert {"missed"} >= {kind for kind, _, _ in seen(world)}
    return [since for _, _, since in seen(world)]


def test_what_was_missed() -> None:
    """Its last due time, if nothing has ever started, goes on or may start; and it is enabled."""
    both = at(MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR)
    world = World(both)
    world.pause("a")
    world.pass_time(3 * 3600)
    world.pause("a", pause=False)
    assert [120] == missed(world)
    world.write("jobs.yaml", replace(both, enabled=False))
    assert [] == missed(world)
    late = World(at(MIDNIGHT + HOUR, start_deadline=MINUTE), job("hog"), max_running=1, seconds={"hog": 9e9})
    late.run("hog")
    late.pass_time(3 * 3600)
    assert ({"hog@1": "starting", "a@1": "skipped"}, [60]) == (late.states(), missed(late))
    late.write("jobs.yaml", at(MIDNIGHT + HOUR, dependencies=("nobody",)))
    assert ["invalid"] == [kind for kind, _, _ in seen(late)]


@pytest.mark.parametrize(("waits", "end"), [(True, "succeeded"), (False, "succeeded"), (False, "failed")])
def test_what_was_skipped_beside_a_run(waits: bool, end: str) -> None:
    """A job of which a run has ended, or waits, has missed nothing."""
    world = World(at(MIDNIGHT + HOUR), job("hog", priority=9), max_running=1, seconds={"hog": 9e9 if waits else 1})
    world.ends["a"] = [end]
    world.run("hog")
    world.run("a", 2)
    world.pass_time(60)
    world.pause("a", ticket=3)
    world.pass_time(3 * 3600)
    world.pause("a", pause=False, ticket=4)
    assert "skipped" == world.states()["a@2"]
    assert ["failing"] * (end == "failed") == [kind for kind, _, _ in seen(world)]
