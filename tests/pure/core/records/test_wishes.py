"""A job that is removed during its run: the run's notices are those of the job that it was."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.base.instants import HOUR
from jobqueued.model.commands import Say
from jobqueued.model.job import Job
from jobqueued.model.notify import Notify, Ping, Webhook
from jobqueued.model.users import Owner
from tests.support.world import World, job

ALICE = Owner(1000, "alice")
NOTIFY = Notify(
    on=("output",), email=("a@example.org",), webhook=(Webhook("https://example.org/x", headers=(("A", "b"),)),),
    sender="b@example.org", owner=ALICE,
)  # fmt: skip
PING = Ping("https://example.org/y", output=False, owner=ALICE)


def removed(world: World) -> list[Job | None]:
    """The part of its job that each run's end has, if the job is in no file."""
    return [each.removed for each in world.said if isinstance(each, Say) and each.event == "run_ended"]


def a_job(**fields: Any) -> Job:
    return job("a", None, notify=NOTIFY, ping=PING, **fields)


def started(*jobs: Job) -> World:
    """A job runs that takes 10 s."""
    world = World(*jobs, seconds={"a": 10})
    world.run("a")
    world.pass_time(1)
    return world


@pytest.mark.parametrize("restarts", ["", "before", "after", "meanwhile"])
def test_a_job_that_is_removed(restarts: str) -> None:
    """It is known at its run's end, whenever the daemon restarts, even if the file changes while no daemon runs."""
    world = started(a_job())
    if restarts == "before":
        world.boot()
    if restarts == "meanwhile":
        world.files["jobs.yaml"] = (job("b"),)
        world.boot()
    else:
        world.write("jobs.yaml", job("b"))
    if restarts == "after":
        world.boot()
    world.pass_time(20)
    (it,) = removed(world)
    assert it is not None
    assert ("a", NOTIFY, PING) == (it.id, it.notify, it.ping)


def test_an_end_that_a_start_finds() -> None:
    """The run ends and its job is removed while no daemon runs."""
    world = started(a_job())
    world.pass_time(20, scheduler=False)
    world.files["jobs.yaml"] = ()
    world.boot()
    (it,) = removed(world)
    assert it is not None
    assert NOTIFY == it.notify


def test_a_retry_that_is_given_up() -> None:
    """A job that is removed between two attempts ends its run with that."""
    world = started(a_job(retries=1, retry_delay=HOUR))
    world.ends["a"] = ["failed 3"]
    world.pass_time(20)
    assert [] == removed(world)
    world.boot()
    world.write("jobs.yaml")
    (it,) = removed(world)
    assert it is not None
    assert NOTIFY == it.notify


def test_a_job_that_exists() -> None:
    """Its current definition counts, so the end of its run carries no removed job. If the job notifies nobody, its run
    has no wishes.
    """
    world = started(a_job())
    world.write("jobs.yaml", job("a", None))
    world.pass_time(20)
    assert [None] == removed(world)
    world.run("a", 2)
    assert [None] == [run.wishes for run in world.scheduler.live]
