"""Jobs that several others make due: by which ends, under which key, over restarts and deaths; who is out of step."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.model import events
from jobqueued.model.run import Run, RunId
from tests.support.world import World, ended, job

HOURLY = "0 * * * *"


def pair(**seconds: float) -> World:
    """Two jobs that are due at once, and take so long, and one that waits for both."""
    return World(job("a", HOURLY), job("z", HOURLY), job("both", dependencies=("a", "z")), seconds=seconds)


def rounds(world: World, job: str = "both") -> list[tuple[str, tuple[str, ...]]]:
    """The runs of a job that others make due: their keys, and the ends that have made them due."""
    runs = sorted((run for run, _ in world.rows.values() if run.id.job == job), key=lambda run: run.id)
    return [(run.key, tuple((run.triggered_by or {}).get("ends", ()))) for run in runs]


ONE, TWO = ("da@1", ("a@1", "z@1")), ("da@2", ("a@2", "z@2"))


@pytest.mark.parametrize("first", ["a", "z"])
def test_the_key(first: str) -> None:
    """It does not depend on the order of the ends, and the run tells of all of them."""
    world = pair(**{first: 60, "a" if first == "z" else "z": 120})
    world.pass_time(7400)
    assert [ONE, TWO] == rounds(world)


@pytest.mark.parametrize("again", [None, -1, 0, 1, 3])
@pytest.mark.parametrize("first", ["a", "z"])
@pytest.mark.parametrize("minutes", [63, 121.5, 123, 181.5])
def test_after_a_degraded_time(minutes: float, first: str, again: int | None) -> None:
    """What has run is not run again, whenever the daemon was killed, once or twice, and each round is one of all."""
    world = pair(**{first: 60, "a" if first == "z" else "z": 120}, both=30)
    world.pass_time(600)
    world.full.add("state")
    world.pass_time(minutes * 60 - 600)
    world.pass_time(180, scheduler=False)
    world.full.clear()
    world.boot(again)
    world.pass_time(4 * 3600)
    pairs = [(f"da@{number}", (f"a@{number}", f"z@{number}")) for number in range(1, len(rounds(world)) + 1)]
    assert pairs == rounds(world)
    assert len(pairs) == (minutes * 60 + 180 + 4 * 3600) // 3600


def by_hand(names: str, pause: int, *, killed: bool, both: float = 1, first: float = 1) -> list[tuple[str, ...]]:
    """The rounds if people run these jobs one after the other: the daemon can't save, and is killed before a `pause`.

    `first`: how long the first run takes.
    """
    world = World(job("a", concurrency=2), job("z", concurrency=2), job("both", dependencies=("a", "z")))
    for number, name in enumerate(names):
        if number == pause:
            world.pass_time(40, scheduler=not killed)
            world.full.clear()
            if killed:
                world.boot()
            world.pass_time(1)
        world.seconds |= {name: 1 if number else first, "both": both}
        world.run(name, number)
        world.full |= {"state"} if number < pause else set()
        world.pass_time(60)
    world.pass_time(600)
    return [ends for _, ends in rounds(world)]


@pytest.mark.parametrize("both", [1, 130])
def test_more_ends_of_one_than_of_the_other(both: float) -> None:
    """An end that a later one has replaced is used up with this one, so a death makes nothing more due."""
    for names in map("".join, product("az", repeat=5)):
        for pause in range(1, 5):
            expected = by_hand(names, pause, killed=False, both=both)
            assert by_hand(names, pause, killed=True, both=both) == expected, (names, pause)


def test_ends_that_overtook_one_another() -> None:
    """The later end counts, whatever their numbers are: z@1 ends after z@2, and a@2 makes nothing due."""
    assert by_hand("zzaa", 3, killed=False, first=90) == [("a@1", "z@1")]
    assert by_hand("zzaa", 3, killed=True, first=90) == [("a@1", "z@1")]


@pytest.mark.parametrize("killed", [False, True])
def test_the_last_success_of_a_degraded_time(killed: bool) -> None:
    """The success that ended last is known after a death, even if a later run ended before it: z@3 overtook z@2."""
    world = World(
        job("a", concurrency=3), job("z", concurrency=3), job("both", dependencies=("a", "z")), seconds={"a": 30}
    )
    for name, seconds, pause in (("z", 1, 2), ("a", 30, 1), ("z", 70, 40)):
        world.seconds[name] = seconds
        world.run(name, pause)
        world.pass_time(pause)
    assert [("da@1", ("a@1", "z@1"))] == rounds(world)
    world.full.add("state")
    world.seconds["z"] = 1
    world.run("z", 3)
    world.pass_time(60)
    world.full.clear()
    if killed:
        world.boot()
    world.pass_time(1)
    world.seconds |= {"z": 50, "a": 1}
    world.run("z", 4)
    world.run("a", 4)
    world.pass_time(120)
    assert [("z@2", "z@4")] == [
        (it.fields["end"], it.fields["awaited"]) for it in world.said if it.event == "out_of_step"
    ]
    assert [("a@1", "z@1"), ("a@2", "z@4")] == [ends for _, ends in rounds(world)]


@pytest.mark.parametrize("killed", [False, True])
def test_a_success_before_a_death_is_not_the_next_one(killed: bool) -> None:
    """d waits for the next success of p, which p@2 is not: it ended before d@3 was due, though that was not saved."""
    world = World(job("p"), job("d", "*/10 * * * *", dependencies=("p",)))
    world.pass_time(60)
    world.run("p", 1)
    world.pass_time(600)
    world.full.add("state")
    world.pass_time(60)
    world.run("p", 2)
    world.pass_time(1200)
    world.full.clear()
    if killed:
        world.boot()
    world.pass_time(60)
    ran = [str(run.id) for run, record in world.rows.values() if run.id.job == "d" and record]
    assert ["d@1", "d@2"] == sorted(ran)


def test_rounds_that_have_not_run() -> None:
    """What was due in a degraded time, and waited, is due again, once for each round: by the same ends."""
    world = World(
        job("a", HOURLY), job("z", HOURLY), job("both", dependencies=("a", "z"), exclusive=True), job("long"),
        seconds={"a": 120, "z": 60, "long": 3 * 3600},
    )  # fmt: skip
    world.run("long")
    world.pass_time(60)
    world.full.add("state")
    world.pass_time(2 * 3600 + 180)
    expected = rounds(world)
    world.full.clear()
    world.boot()
    world.pass_time(180)
    assert [ONE, TWO] == expected == rounds(world)


def test_ends_in_any_order() -> None:
    """Ends that are told in another order than they came in make nothing due that was found."""
    world = World(job("a"), job("z"), job("both", dependencies=("a", "z")))
    sent = Run(
        id=RunId("both", 1), key="da@1", due=world.now.wall, queued=world.now.wall, arrival=0, trigger="end of z@1",
        triggered_by={"run": "z@1", "ends": ["a@1", "z@1"]},
    )  # fmt: skip
    world.memories["both"] = replace(world.scheduler["both"].saved, satisfied=("a",), ends=(RunId("a", 1),))
    told: list[events.Event] = [events.Found(sent.id, 1, sent), events.RunEnded(sent.id, 1, ended(sent.id))]
    for name in ("a", "z"):
        for number in (1, 2):
            run = RunId(name, number)
            told += [events.Found(run, 1, replace(sent, id=run, key=f"x{number}", triggered_by=None))]
            told += [events.RunEnded(run, 1, ended(run))]
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), admit=False)
    world.happen(*told, events.JobsLoaded(complete=True), events.Woke())
    assert [ONE, TWO] == rounds(world)
    assert () == world.memories["both"].satisfied


@pytest.mark.parametrize("key", ["x1", "ja@9", "da@1"])
def test_what_was_saved_before_it_was_due(key: str) -> None:
    """A run that R alone tells of has used it up, whatever has made it due."""
    world = World(job("a"), job("z"), job("both", dependencies=("a", "z")))
    world.memories["both"] = replace(world.scheduler["both"].saved, satisfied=("a",), ends=(RunId("a", 1),))
    sent = Run(id=RunId("both", 1), key=key, due=world.now.wall, queued=world.now.wall, arrival=0)
    world.restore()
    world.happen(events.JobsRead("jobs.yaml", world.files["jobs.yaml"]), admit=False)
    world.happen(events.Found(sent.id, 1, sent), events.RunEnded(sent.id, 1, ended(sent.id)), admit=False)
    assert ((), ()) == (world.memories["both"].satisfied, world.memories["both"].ends)


def test_who_is_out_of_step() -> None:
    """A job that would go by the last round of one of those that it waits for waits for this round, and says so."""
    world = pair(a=60, z=120)
    world.pass_time(3600 + 130)
    world.memories["both"] = replace(world.memories["both"], satisfied=("z",), ends=(RunId("z", 1),))
    world.boot()
    world.pass_time(3 * 3600)
    assert [ONE, TWO, ("da@3", ("a@3", "z@3"))] == rounds(world)[:3]
    assert [{"job": "both", "end": "z@1", "awaited": "z@2"}] == [
        it.fields for it in world.said if it.event == "out_of_step"
    ]


def test_who_is_out_of_step_with_a_failure() -> None:
    """Where this round fails, the last one counts after all."""
    world = pair(a=60, z=120)
    world.pass_time(3600 + 130)
    world.memories["both"] = replace(world.memories["both"], satisfied=("z",), ends=(RunId("z", 1),))
    world.boot()
    world.ends["z"] = ["failed 1"]
    world.pass_time(3600)
    assert [ONE, ("da@2", ("a@2", "z@1"))] == rounds(world)
    assert ["end of z@2"] == [run.trigger for run, _ in world.rows.values() if run.id == RunId("both", 2)]


def test_who_is_not_out_of_step() -> None:
    """What ended after its last run counts, though a newer run of the same goes on."""
    world = World(
        job("a", HOURLY), job("z", "*/20 * * * *"), job("both", dependencies=("a", "z")), seconds={"a": 1, "z": 120}
    )
    world.pass_time(2 * 3600 + 10)
    assert ["end of a@2"] == [run.trigger for run, _ in world.rows.values() if run.id == RunId("both", 2)]
    assert [] == [it for it in world.said if it.event == "out_of_step"]


def test_who_is_in_step_after_the_clock_was_set_back() -> None:
    """The due times of runs before that say nothing about the ends after it."""
    world = World(
        job("a", HOURLY), job("z", "*/20 * * * *"), job("both", dependencies=("a", "z")), seconds={"a": 1, "z": 120}
    )
    world.pass_time(5 * 3600 + 10)
    world.step_clock(-2 * 3600)
    before = len(rounds(world))
    world.pass_time(3600)
    assert ["end of a@6"] == [
        run.trigger for run, _ in world.rows.values() if run.id.job == "both" and run.id.number > before
    ]
    assert [] == [it for it in world.said if it.event == "out_of_step"]


def test_one_that_a_person_has_run_meanwhile() -> None:
    """A run by hand uses up what there was; the job is in step again by the next round but one."""
    world = pair(a=60, z=120)
    world.pass_time(3600 + 90)
    world.run("both")
    world.pass_time(3 * 3600)
    assert [("da@2", ("a@2", "z@2")), ("da@3", ("a@3", "z@3"))] == rounds(world)[1:3]


def test_an_older_version_that_is_out_of_step() -> None:
    """What it counted again after a degraded time, though the job has had it, does not count, and that is said."""
    world = World(
        job("a", HOURLY), job("z", "30 * * * *"), job("both", dependencies=("a", "z")), seconds={"a": 60, "z": 60}
    )
    world.pass_time(2 * 3600 + 120)
    assert [ONE, TWO] == rounds(world)
    world.memories["both"] = replace(world.memories["both"], satisfied=("a",), ends=())
    world.boot()
    world.pass_time(2 * 3600)
    assert [ONE, TWO, ("da@3", ("a@3", "z@3")), ("da@4", ("a@4", "z@4"))] == rounds(world)
    assert [{"job": "both", "end": "a@2", "awaited": "a"}] == [
        it.fields for it in world.said if it.event == "out_of_step"
    ]


def test_a_state_of_an_older_version() -> None:
    """What it kept of the names alone counts, and the key is that of what is known."""
    world = pair(a=60, z=120)
    world.memories["both"] = replace(world.scheduler["both"].saved, satisfied=("a",))
    world.files["jobs.yaml"] = tuple(replace(it, triggers=(), schedule=()) for it in world.files["jobs.yaml"])
    world.boot()
    world.run("z")
    world.pass_time(3 * MINUTE / SECOND)
    assert [("dz@1", ("z@1",))] == rounds(world)
