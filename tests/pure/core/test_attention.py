"""What a person should look at: jobs that are invalid, fail or are paused, runs that are late; since when."""

from __future__ import annotations

from dataclasses import replace

from jobqueued import events
from jobqueued.control.views import standing, status
from jobqueued.model import HOUR, MINUTE, to_datetime
from jobqueued.timing.schedule import At
from tests.support.world import MIDNIGHT, World, job


def seen(world: World) -> list[tuple[str, str, int | None]]:
    """Kind, job or run, and the minutes from midnight since when it is so."""
    found = world.scheduler.attention(world.now)
    since = [(one, one.since) for one in found]
    return [(one.kind, str(one.run or one.job), at and (at - MIDNIGHT) // MINUTE) for one, at in since]


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
    """A run of the clock is late once it has waited for more than its job's grace; one that a person wants is not."""
    patient = job("patient", "5 * * * *", grace=HOUR)
    world = World(job("long", "0 * * * *"), job("next", "5 * * * *"), patient, seconds={"long": 7000}, max_running=1)
    world.pass_time(65 * 60)
    world.happen(events.RunAsked(1, "patient", "root", "x1"))
    world.pass_time(120)
    assert [("late", "next@2", 65)] == seen(world)


def test_invalid_and_paused() -> None:
    """A job that can't run here is told of with the reason, a pause with its end."""
    world = World(job("a", dependencies=("nobody",)), job("b", user="bob"), job("c"), users={"bob": "no user 'bob'"})
    world.happen(events.PauseAsked(1, "c", "root", pause=True, until=MIDNIGHT + HOUR))
    found = [(one.kind, one.job, one.reason, one.until) for one in world.scheduler.attention(world.now)]
    unknown = "it depends on job nobody, which does not exist"
    expected = [("invalid", "a", unknown, None), ("invalid", "b", "no user 'bob'", None)]
    assert [*expected, ("paused", "c", None, MIDNIGHT + HOUR)] == found


def test_late_is_nobody_that_is_paused() -> None:
    """A run that waits as its job is paused is not late: somebody wants that."""
    world = World(job("long", "0 * * * *"), job("next", "5 * * * *"), seconds={"long": 7000}, max_running=1)
    world.pass_time(66 * 60)
    world.happen(events.PauseAsked(1, "next", "root", pause=True))
    world.pass_time(600)
    assert [("paused", "next", None)] == seen(world)
    assert replace(world.scheduler["next"].saved, paused=False).is_noteworthy is False


def test_an_at_that_was_past_is_missed() -> None:
    """A job whose only instant was over when its file came is Missed, and needs somebody; one that has run is
    Completed, and so is a missed one that somebody has run."""
    world = World(replace(job("late", at=MIDNIGHT - 1), triggers=(At(to_datetime(MIDNIGHT - 1)),)))
    world.write("more.yaml", replace(job("once", at=MIDNIGHT + HOUR), triggers=(At(to_datetime(MIDNIGHT + HOUR)),)))
    world.pass_time(7200)
    found = {name: world.scheduler.catalog[name] for name in ("late", "once")}
    statuses = {name: str(status(one, standing(world.scheduler, one))) for name, one in found.items()}
    assert {"late": "Missed", "once": "Completed"} == statuses
    assert [("missed", "late", -1)] == seen(world)
    world.boot()
    assert ["missed"] == [kind for kind, _, _ in seen(world)]
    world.run("late")
    world.pass_time(60)
    assert [] == seen(world)
