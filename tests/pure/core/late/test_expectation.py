"""Jobs that are expected to succeed: whatever keeps one from it, that is told once, and its end."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.base.instants import DAY, HOUR, MINUTE
from jobqueued.model import events
from jobqueued.model.commands import Reply, Say
from jobqueued.model.job import Job
from jobqueued.model.notify import Notify, Webhook
from tests.support.world import MIDNIGHT, World, job

NOTIFY = Notify(email=("a@example.org",), webhook=(Webhook("https://example.org/x", headers=(("A", "b"),)),))


def daily(schedule: str | None = "0 1 * * *", **fields: Any) -> Job:
    """A job that runs at one o'clock, and is to succeed every 26 hours."""
    return job("a", schedule, **{"expect": 26 * HOUR, **fields})


def told(world: World) -> list[tuple[str, str]]:
    """What was said of it, and why."""
    events_of_it = ("overdue", "overdue_over", "still_expected")
    return [(each.event, each.fields.get("reason", "")) for each in world.said if each.event in events_of_it]


def overdue(world: World) -> list[tuple[str, str | None]]:
    """Which jobs are overdue, and why."""
    return [(one.job, one.reason) for one in world.scheduler.attention(world.now) if one.kind == "overdue"]


def hours(world: World, count: float) -> World:
    """Some hours pass."""
    world.pass_time(count * 3600)
    return world


def test_a_job_that_succeeds() -> None:
    """Nothing is said of a job that succeeds in time; it has one deadline, which is no reason to wake up."""
    world = hours(World(daily()), 10 * 24)
    assert ([], []) == (told(world), overdue(world))
    assert world.now.wall + HOUR == world.scheduler.next_wakeup(world.now)
    assert 1 == len(world.scheduler._state.lateness.jobs)


def test_once_and_its_end() -> None:
    """It is told after 26 hours without success, once over restarts; the next success ends it."""
    world = World(daily())
    hours(world, 1.5)
    world.ends["a"] = ["failed 3"]
    hours(world, 25.4)
    assert [] == told(world)
    hours(world, 0.2)
    assert [("overdue", "its last run failed: exit code 3; see: jobqueuectl show a@2")] == told(world)
    for _ in range(3):
        world.boot()
        hours(world, 24)
    assert 1 == len(told(world))
    assert [("a", "its last run failed: exit code 3; see: jobqueuectl show a@5")] == overdue(world)
    assert ["a"] == [known.id for known in world.scheduler.remembered_jobs()]
    world.ends["a"] = ["succeeded"]
    hours(world, 24)
    assert ("overdue_over", "a@6 has succeeded") == told(world)[-1]
    assert [] == overdue(world)
    world.ends["a"] = ["failed 3"]
    hours(world, 48)
    assert ["overdue", "overdue_over", "overdue"] == [event for event, _ in told(world)]


def test_who_dies_tells_no_twice() -> None:
    """A scheduler that dies before its commit has told nobody; the next one does."""
    world = World(daily(expect=HOUR, schedule=None))
    world._advance(MIDNIGHT + HOUR)
    world.happen(events.Woke(), die_after=-1)
    assert [] == told(world)
    world.boot()
    world.boot()
    assert [("overdue", "no run of it has ended since")] == told(world)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("pause", "it is paused; to resume: jobqueuectl resume a"),
        ("pause until", "it is paused for 4 h more; to resume: jobqueuectl resume a"),
        ("invalid", "it is invalid: it depends on job nobody, which does not exist"),
        ("removed", "it is in no job file; if it was removed on purpose: jobqueuectl forget a"),
        ("hangs", "a@1 has not ended"),
        ("waits", "a@1 waits; see: jobqueuectl why a@1"),
        ("max_runs", "its max_runs (1) are used up"),
        ("skipped", "its last run was skipped: invalid: it claims"),
    ],
)
def test_why_not(how: str, reason: str) -> None:
    """It is told whatever is in its way, with what to do about it."""
    world = World(daily(), seconds={"a": 60, "hog": 9e9}, max_running=1 if how == "waits" else None)
    match how:
        case "pause" | "pause until":
            world.pause("a", until=MIDNIGHT + 30 * HOUR if "until" in how else None)
        case "invalid":
            world.write("jobs.yaml", daily(dependencies=("nobody",)))
        case "removed":
            world.write("jobs.yaml")
        case "hangs":
            world.seconds["a"] = 9e9
        case "waits":
            world.write("more.yaml", job("hog", priority=5))
            world.run("hog")
        case "max_runs":
            world.write("jobs.yaml", daily(max_runs=1))
            hours(world, 2)
        case "skipped":
            world.write("jobs.yaml", daily(start_deadline=MINUTE, exclusive=True), job("hog"))
            world.run("hog")
            reason = "its last run was skipped: start_deadline"
    hours(world, 26 if how != "max_runs" else 26.1)
    assert [("overdue", reason)] == told(world)[-1:]
    assert [("a", reason)] == overdue(world)
    assert world.scheduler.needs("overdue", "a")


def test_removed_by_accident_and_back() -> None:
    """What is removed is told of by whoever it told before, after a restart, too; when it is back it goes on."""
    world = hours(World(daily(notify=NOTIFY, tags=("t",), user="alice"), users={}), 2)
    world.write("jobs.yaml")
    assert [("still_expected", "")] == told(world)
    assert None is world.scheduler.remembered_job("a")
    world.boot()
    hours(world, 26)
    world.boot()
    assert [("a", "it is in no job file; if it was removed on purpose: jobqueuectl forget a")] == overdue(world)
    kept = world.scheduler.remembered_job("a")
    assert kept is not None
    assert (NOTIFY, ("t",), "alice") == (kept.notify, kept.tags, kept.user)
    assert (None, ["a"]) == (world.scheduler.remembered_job("b"), [one.id for one in world.scheduler.remembered_jobs()])
    world.write("jobs.yaml", daily())
    hours(world, 24)
    assert [("still_expected", ""), ("overdue", overdue_of_removed()), ("overdue_over", "a@2 has succeeded")] == (
        told(world)
    )


def overdue_of_removed() -> str:
    """Why a job that was removed does not succeed."""
    return "it is in no job file; if it was removed on purpose: jobqueuectl forget a"


def test_forget_what_is_not_expected() -> None:
    """Of a job in a file that has no `expect`, or is disabled, it is said so."""
    for known in (daily(expect=None), daily(enabled=False)):
        world = World(known)
        world.happen(events.ForgetAsked(1, "a", "root"))
        said = "a is in jobs.yaml; it has no `expect`"
        assert {"reason": said} == world.replies[1].value


def test_forget() -> None:
    """A person ends it for a job that is in no file, for good; not for one that is."""
    world = World(daily())
    world.happen(events.ForgetAsked(1, "a", "root"))
    assert {"reason": "a is in jobs.yaml; to stop expecting it, remove `expect` there"} == world.replies[1].value
    world.write("jobs.yaml")
    hours(world, 26)
    world.happen(events.ForgetAsked(2, "a", "root"))
    assert (None, ("overdue_over", "forgotten by root")) == (world.replies[2].error, told(world)[-1])
    world.happen(events.ForgetAsked(3, "a", "root"))
    assert "NoSuchJob" == world.replies[3].error
    world.boot()
    hours(world, 99)
    assert ([], 3) == (overdue(world), len(told(world)))
    assert (None, None) == (world.memories["a"].expected, world.scheduler.next_wakeup(world.now))


@pytest.mark.parametrize("change", [{"expect": None}, {"enabled": False}, {"expect": 90 * HOUR}])
def test_an_edit_ends_it(change: dict[str, Any]) -> None:
    """A file that expects nothing, or later, ends it, and so does `enabled: false`."""
    world = World(daily(schedule=None))
    hours(world, 27)
    assert 1 == len(overdue(world))
    world.write("jobs.yaml", daily(**change))
    assert ("overdue_over", []) == (told(world)[-1][0], overdue(world))
    hours(world, 62)
    assert 2 == len(told(world))
    world.write("jobs.yaml", daily(expect=HOUR))
    hours(world, 0.9)
    is_new = change.get("expect", 0) != 90 * HOUR  # else it counts since midnight
    assert is_new is (len(told(world)) == 2)


def test_a_success_while_the_daemon_is_down() -> None:
    """A run that ends meanwhile counts from its end."""
    world = World(daily(), seconds={"a": 2 * 3600})
    hours(world, 1.5)
    world.pass_time(4 * 3600, scheduler=False)
    world.boot()
    expected = world.memories["a"].expected
    assert expected is not None
    assert MIDNIGHT + 3 * HOUR == expected.since


@pytest.mark.parametrize("step", [-30, -2, 2, 30])
def test_a_clock_that_is_set(step: int) -> None:
    """What is set makes nobody overdue, and nobody less so."""
    world = World(daily(schedule=None))
    hours(world, 10)
    world.step_clock(step * 3600)
    hours(world, 15.9)
    assert [] == told(world)
    hours(world, 0.2)
    assert 1 == len(told(world))


def test_10_000_jobs() -> None:
    """Each has one deadline, and a turn tells of 500."""
    jobs = [job(f"a{number}", expect=DAY) for number in range(1200)]
    world = World(*jobs)
    world._advance(MIDNIGHT + DAY)
    counts = []
    while world.scheduler.next_wakeup(world.now) is not None:
        world.said.clear()
        world.happen(events.Woke())
        counts.append(len(told(world)))
    assert [500, 500, 200] == counts


def test_what_is_said() -> None:
    """Of which job, for how long and since when it is to succeed; who is told is whoever its newest file names."""
    world = World(daily(None, notify=NOTIFY, tags=("t",)))
    world.write("jobs.yaml", daily(None, tags=("u",), user="bob"))
    world.write("jobs.yaml")
    assert Say("still_expected", {"job": "a", "within": 26 * HOUR}) in world.did
    hours(world, 26)
    reason = overdue_of_removed()
    assert [Say("overdue", {"job": "a", "within": 26 * HOUR, "since": MIDNIGHT, "reason": reason})] == world.did
    kept = world.scheduler.remembered_job("a")
    assert kept is not None
    assert (Notify(), ("u",), "bob") == (kept.notify, kept.tags, kept.user)
    world.happen(events.ForgetAsked(2, "b", "root"))
    assert [Reply(2, {"job": "b"}, "NoSuchJob")] == world.did
    world.happen(events.ForgetAsked(3, "a", "root"))
    over = Say("overdue_over", {"job": "a", "reason": "forgotten by root"})
    assert [over, Reply(3, {}, asked="the order of root to forget a")] == world.did
    assert 0 == len(world.scheduler._state.lateness.jobs)


def test_no_deadline_is_left() -> None:
    """Where a file expects nothing any more nobody wakes up for it."""
    world = World(daily(None))
    world.write("jobs.yaml", daily(None, expect=None))
    assert (0, None) == (len(world.scheduler._state.lateness.jobs), world.scheduler.next_wakeup(world.now))
