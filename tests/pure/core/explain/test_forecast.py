"""When a waiting run is likely to start: the queue is played forward, and where nobody can say, nobody does."""

from __future__ import annotations

from datetime import datetime

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_instant
from jobqueued.control.calls.monitor import processes
from jobqueued.model import events
from jobqueued.model.job import Claim, Escalation, Job
from jobqueued.model.run import LockClientId
from jobqueued.model.saved import Hold, JobStats, SavedJob
from jobqueued.model.users import Owner
from tests.support.world import World, job

FLAT = Escalation(0)
TAPE = Claim("tape", exclusive=True)
ALICE = Owner(1000, "alice")


def expected(world: World, run: str) -> float | None:
    """In how many seconds a run is likely to start."""
    name = next(known for known in world.scheduler.runs if str(known) == run)
    told = world.scheduler.explain(name, world.now)["expected"]
    return None if told is None else (to_instant(datetime.fromisoformat(told)) - world.now.wall) / SECOND


def overtaking(count: int, *others: Job) -> World:
    """A run that overtakes so many, one after the other, until nothing is kept from it."""
    names = [f"r{number}" for number in range(1, count + 1)]
    holders = [job(f"hold-{name}", resources=(Claim(name, 1),), timeout=9 * HOUR) for name in names]
    waiters = [
        job(f"wait-{name}", resources=(Claim(name, 2),), priority=number, escalation=FLAT)
        for number, name in enumerate(names, 1)
    ]
    asked = job("asked", resources=tuple(Claim(name, 1) for name in names), escalation=Escalation(1, MINUTE))
    jobs = [*holders, *others, *waiters, asked]
    world = World(*jobs, resources=dict.fromkeys(names, 2), seconds={one.id: 9e9 for one in jobs})
    for ticket, one in enumerate(jobs, 1):
        world.run(one.id, ticket)
    return world


ENDS = job("ends", locks=(TAPE,), timeout=7 * SECOND, kill_grace=0)
FOLLOWS = job("follows", locks=(TAPE,), priority=99, escalation=FLAT)


@pytest.mark.parametrize(
    ("others", "most"), [((), 10), ((ENDS,), 10), ((ENDS, FOLLOWS), 11)], ids=["alone", "an end", "a start"]
)
def test_how_far_it_is_played(others: tuple[Job, ...], most: int) -> None:
    """Ten passes in a row that let nobody start are looked at, and no more; whoever ends or starts begins anew."""
    assert [most * 60, None] == [
        at and round(at) for at in (expected(overtaking(count, *others), "asked@1") for count in (most, most + 1))
    ]


@pytest.mark.parametrize(("before", "known"), [(99, True), (100, False)])
def test_behind_how_many(before: int, known: bool) -> None:
    """Behind a hundred nobody can say; how many there are behind it is no matter."""
    world = World(job("hog", timeout=HOUR), job("a", priority=1, max_waiting=200, concurrency=200), job("asked"),
                  job("behind", max_waiting=200, concurrency=200), max_running=1, seconds={"hog": 9e9})  # fmt: skip
    world.memories["a"] = SavedJob(job="a", stats=JobStats(usual=SECOND))
    world.boot()
    world.run("hog")
    for ticket in range(before):
        world.run("a", 2 + ticket)
    world.run("asked", 200)
    for ticket in range(150):
        world.run("behind", 201 + ticket)
    at = expected(world, "asked@1")
    assert known is (at is not None)
    assert not known or 3600 + before == round(at or 0)


@pytest.mark.parametrize(
    ("usual", "timeout", "started", "later", "seconds"),
    [
        (None, None, True, 0, None),  # nobody knows when it ends
        (None, 60, True, 0, 60),  # at the latest by its timeout
        (30, None, True, 0, 30),
        (30, None, True, 10, 20),
        (30, None, True, 40, 1),  # late already: soon
        (30, None, False, 10, 30),  # it is not known when it began: now
        (90, 60, True, 0, 60),  # what is usual is longer than it may take
        (90, 60, True, 70, 1),
        (0, None, False, 0, 0),
    ],
)
def test_the_end_of_who_is_live(
    usual: int | None, timeout: int | None, started: bool, later: int, seconds: int | None
) -> None:
    """It takes as long as is usual, or as it may; who is late ends soon."""
    hog = job("hog", timeout=None if timeout is None else timeout * SECOND, kill_grace=0)
    world = World(hog, job("a"), max_running=1, seconds={"hog": 9e9})
    world.memories["hog"] = SavedJob(job="hog", stats=JobStats(usual=None if usual is None else usual * SECOND))
    world.boot()
    world.run("hog")
    if started:
        world.start("hog@1")
    world.run("a", 2)
    world.pass_time(later)
    assert seconds == expected(world, "a@1")


def test_one_that_hung_is_not_usual() -> None:
    """What half of the newest runs took is expected, by `why` and by `top`, though the last one took a day."""
    world = World(job("hog"), job("a"), max_running=1, seconds={"hog": 9e9})
    took = "60000 61000 59000 60000 86400000"
    world.memories["hog"] = SavedJob(job="hog", took=took, stats=JobStats(usual=6 * HOUR))
    world.boot()
    world.run("hog")
    world.start("hog@1")
    world.run("a", 2)
    assert 60 == expected(world, "a@1")
    assert [60 * SECOND] == [process.usual for process in processes(world.scheduler)]


def test_who_may_go_before() -> None:
    """Who ages faster and overtakes it is reckoned with, and who has only come later is not."""
    world = World(
        job("hog", timeout=10 * MINUTE, kill_grace=0), job("a", priority=1, escalation=FLAT),
        job("fast", escalation=Escalation(1, MINUTE)), job("late", priority=1, escalation=FLAT),
        max_running=1, seconds={"hog": 9e9},
    )  # fmt: skip
    for name in ("fast", "a"):
        world.memories[name] = SavedJob(job=name, stats=JobStats(usual=100 * SECOND))
    world.boot()
    for ticket, name in enumerate(("hog", "a", "late", "fast"), 1):
        world.run(name, ticket)
    assert [600, 700, 800] == [round(expected(world, run) or 0) for run in ("fast@1", "a@1", "late@1")]


def test_while_nothing_starts() -> None:
    """During a hold, or under pressure, nobody can say."""
    world = World(job("hog", timeout=MINUTE, kill_grace=0), job("a"), max_running=1, seconds={"hog": 9e9}, calm=1)
    world.run("hog")
    world.start("hog@1")
    world.run("a", 2)
    assert 60 == expected(world, "a@1")
    world.happen(events.UnderPressure("io", world.now.mono + 9))
    assert None is expected(world, "a@1")
    world.pass_time(10)
    assert 50 == expected(world, "a@1")
    world.happen(events.HoldAsked(3, "root", Hold("root")))
    assert None is expected(world, "a@1")


def test_beside_whom_nobody_knows() -> None:
    """Behind a command of a person, an endless run, or one's own limit nobody can say; nor behind who waits for it."""
    world = World(
        job("a", locks=(TAPE,)), job("hog"), job("alone", exclusive=True, priority=5), job("low"),
        *(job(f"alice/{name}", owner=ALICE) for name in "ab"), most_of_a_user=1, seconds={"hog": 9e9, "alice/a": 9e9},
    )  # fmt: skip
    world.run("alice/a")
    world.run("alice/b", 2)
    assert None is expected(world, "alice/b@1")
    world.happen(events.LockAsked(3, LockClientId(1), (TAPE,), "alice", at_once=False))
    world.happen(events.LockAsked(4, LockClientId(2), (TAPE,), "alice", at_once=False))
    world.run("a", 5)
    assert None is expected(world, "a@1")
    world.unlock(LockClientId(1))
    assert None is expected(world, "a@1")
    world.run("hog", 6)
    world.run("alone", 7)
    world.run("low", 8)
    assert None is expected(world, "low@1")


def test_behind_a_command_that_waits() -> None:
    """It is foreseen that a command of a person gets its lock, and not for how long it has it."""
    world = World(
        job("hog", locks=(TAPE,), timeout=MINUTE, kill_grace=0), job("a", locks=(TAPE,)), seconds={"hog": 9e9}
    )
    world.run("hog")
    world.happen(events.LockAsked(2, LockClientId(1), (TAPE,), "alice", at_once=False))
    world.run("a", 3)
    assert None is expected(world, "a@1")


def test_who_passes_meanwhile() -> None:
    """Who has certainly ended before another can start passes it, by the latest end of who has started before."""
    names = {"hog": (2, 10, 0), "x": (1, 60, 9), "big": (2, None, 8), "a": (1, 30, 0)}
    jobs = [
        job(name, resources=(Claim("gpu", units),), timeout=takes and takes * SECOND, priority=priority, kill_grace=0)
        for name, (units, takes, priority) in names.items()
    ]
    world = World(*jobs, resources={"gpu": 2}, seconds={"hog": 9e9})
    for ticket, name in enumerate(names, 1):
        world.run(name, ticket)
    assert [10, 70, 10] == [round(expected(world, f"{name}@1") or 0) for name in ("x", "big", "a")]
