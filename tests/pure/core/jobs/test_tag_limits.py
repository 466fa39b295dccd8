"""`tags: {nightly: {live: 4}}` in jobqueued.yaml: the live runs that all jobs with a tag may have together."""

from __future__ import annotations

from jobqueued.model.run import RunId
from jobqueued.model.users import Owner
from tests.support.world import World, job

ALICE = Owner(1000, "alice")


def live(world: World) -> list[str]:
    return sorted(run.id.job for run in world.scheduler.live)


def a_world(**limits: int) -> World:
    """Jobs that come in the order of their names, each for 100 s; `both` has two tags, and alice's job one of them."""
    jobs = [
        job("a", "0 1 * * *", tags=("night",)), job("both", "1 1 * * *", tags=("db", "night")),
        job("c", "2 1 * * *", tags=("db",)), job("d", "3 1 * * *", tags=("day",)),
        job("e", "4 1 * * *", tags=("night",)), job("alice/f", "5 1 * * *", tags=("night",), owner=ALICE),
    ]  # fmt: skip
    return World(*jobs, tags=limits, seconds=dict.fromkeys((it.id for it in jobs), 600))


def test_they_wait_for_each_other() -> None:
    """As many live as the limit says; the others wait in their order, and other jobs are not kept."""
    world = a_world(night=1)
    world.pass_time(3600 + 500)
    assert ["a", "alice/f", "c", "d"] == live(world)
    assert "the limit of 1 live for the tag night is used up by a@1" in "\n".join(world.why("e@1"))
    world.pass_time(200)
    assert ["alice/f", "both", "c", "d"] == live(world)
    assert ["tag:night"] == world.marks.specs[RunId("both", 1), 1].record["waited_for"]
    world.pass_time(600)
    assert ["e"] == live(world)
    claim = {"resource": "tag:night", "mode": "units", "units": 1, "of": 1}
    assert [claim] == world.marks.specs[RunId("e", 1), 1].record["claims"]


def test_a_run_counts_for_each_of_its_tags() -> None:
    world = a_world(night=2, db=1)
    world.pass_time(3600 + 500)
    assert ["a", "alice/f", "both", "d"] == live(world)
    assert "the limit of 1 live for the tag db is used up by both@1" in "\n".join(world.why("c@1"))


def test_after_a_restart_they_count() -> None:
    """Live runs that a new daemon finds count as before."""
    world = a_world(night=1)
    world.pass_time(3600 + 10)
    world.boot()
    world.pass_time(300)
    assert ["a", "alice/f", "c", "d"] == live(world)


def test_a_limit_that_is_gone_or_new() -> None:
    """Runs that were live before a limit was set do not count for it; a limit that is gone keeps nobody waiting."""
    world = a_world()
    world.pass_time(3600 + 10)
    world.limits = world.limits._replace(tags={"night": 1})
    world.boot()
    world.pass_time(120)
    assert ["a", "both"] == live(world)[:2]
    world.limits = world.limits._replace(tags={})
    world.boot()
    world.pass_time(200)
    assert ["a", "alice/f", "both", "c", "d", "e"] == live(world)
