"""Whose a run is: by the record, whatever becomes of the job, by number and name."""

from __future__ import annotations

from typing import Any, cast

import pytest

from jobqueued.child.contract.documents import Record
from jobqueued.core.records.recollection import run_of
from jobqueued.core.records.record import owner_of
from jobqueued.model.job import Job
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.users import Owner
from tests.support.world import World, job

ALICE, ANOTHER = Owner(1000, "alice"), Owner(1001, "alice")
NAME = "alice/x"


def owned(owner: Owner | None, **fields: Any) -> Job:
    """The job of that owner."""
    return job(NAME, owner=owner, max_waiting=5, **fields)


def a_world(owner: Owner | None) -> World:
    """One in which it has succeeded once."""
    world = World(owned(owner), seconds={NAME: 9})
    world.run(NAME)
    world.pass_time(60)
    return world


def records(world: World) -> list[Record]:
    """Those of all that has ended, or was sent."""
    return [*(spec.record for spec in world.marks.specs.values()), *(it for _, it in world.rows.values() if it)]


def test_the_record_tells_it() -> None:
    """A run of a user's job has its owner in the record, one of the host's has none."""
    for owner, told in ((ALICE, {"uid": 1000, "name": "alice"}), (None, None)):
        world = World(owned(owner))
        world.run(NAME)
        (document,) = records(world)
        assert (told, owner is not None) == (document.get("owner"), "owner" in document)


def test_it_outlives_the_job() -> None:
    """What was skipped as its job was removed is its owner's, too, and comes back with the record alone."""
    world = World(owned(ALICE), seconds={NAME: 9})
    world.run(NAME)
    world.run(NAME, 2)
    world.write("jobs.yaml")
    skipped = next(record for record in records(world) if record["state"] == "skipped")
    assert ("job_removed", ALICE, ALICE) == (skipped["reason"], owner_of(skipped), run_of(skipped).owner)


def test_it_outlives_a_restart() -> None:
    """A waiting run of a job that is in no file any more is its owner's after a restart."""
    world = World(owned(ALICE), seconds={NAME: 9})
    world.run(NAME)
    world.run(NAME, 2)
    world.files.clear()
    world.restore()
    assert [ALICE, ALICE] == [run.owner for run in world.scheduler.runs.values()]


@pytest.mark.parametrize("nonsense", [None, {}, {"uid": "1000", "name": "alice"}, {"uid": 1000}, [1000, "alice"]])
def test_a_damaged_record(nonsense: object) -> None:
    """What is no owner is none."""
    assert None is owner_of(cast("Record", {"owner": nonsense}))


def test_another_of_the_same_name() -> None:
    """The counters, pauses and failures of a job id are not told to another owner; its numbers are not used again."""
    world = a_world(ALICE)
    world.pause(NAME)
    world.write("jobs.yaml", owned(ANOTHER))
    saved = world.scheduler[NAME].saved
    assert (0, None, False, 1, ANOTHER) == (
        saved.stats.started, saved.stats.last_state, saved.paused, saved.last_number, saved.owner,
    )  # fmt: skip
    world.pass_time(1)
    world.scheduler.validate()


def test_the_same_owner_again() -> None:
    """An edit by the same owner keeps them, and so does a restart."""
    world = a_world(ALICE)
    world.write("jobs.yaml", owned(ALICE, priority=-1))
    world.boot()
    stats = world.scheduler[NAME].saved.stats
    assert (1, RunState.SUCCEEDED) == (stats.started, stats.last_state)


def test_the_owner_is_another_before_the_start() -> None:
    """A run that waits goes by the newest definition, and so it is that one's owner's."""
    world = World(owned(ALICE), seconds={NAME: 9}, max_running=1)
    world.run(NAME)
    world.run(NAME, 2)
    world.write("jobs.yaml", owned(ANOTHER))
    world.pass_time(10)
    assert ANOTHER == owner_of(world.marks.specs[RunId(NAME, 2), 1].record)


def test_one_of_which_the_owner_was_not_known() -> None:
    """It is kept from now on, though nothing else of the job is another."""
    world = World(owned(None))
    world.write("jobs.yaml", owned(ALICE))
    assert ALICE == world.memories[NAME].owner
