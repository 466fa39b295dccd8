"""Why a run has not started, in full: what it lacks, who has it, whom it waits behind, and all of that in words."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND, to_text
from jobqueued.model import events
from jobqueued.model.job import Claim, Escalation, Occurrence
from jobqueued.model.run import LockClientId, RunId
from jobqueued.model.saved import Hold
from jobqueued.model.users import Owner
from tests.support.world import MIDNIGHT, World, job

TAPE, DB = Claim("tape", exclusive=True), Claim("db", exclusive=True)
ALICE, BOB = Owner(1000, "alice"), Owner(1001, "bob")


def explain(world: World, run: str, asker: Owner | None = None) -> dict[str, Any]:
    """All that is told of a run."""
    return world.scheduler.explain(RunId.parse(run), world.now, asker)


def test_all_of_it() -> None:
    """Each field, of one that lacks a lock that a run has, and is behind another."""
    hog = job("hog", locks=(TAPE,), timeout=HOUR, kill_grace=0)
    wait = [job(f"w{number}", locks=(TAPE,), escalation=Escalation(2, 2 * HOUR), priority=3) for number in (1, 2)]
    world = World(hog, *wait, seconds={"hog": 9e9})
    world.run("hog")
    world.pass_time(2)
    world.start("hog@1")
    for ticket, name in enumerate(("w1", "w2"), 2):
        world.run(name, ticket)
    world.pass_time(90)
    ends = to_text(MIDNIGHT + HOUR + 2 * SECOND)
    held = {
        "run": "hog@1", "mode": "exclusive", "units": 0, "since": to_text(MIDNIGHT + 2 * SECOND), "held": "1 min 30 s",
        "ends_by": ends, "lingers": None,
    }  # fmt: skip
    assert explain(world, "w2@1") == {
        "run": "w2@1", "state": "waiting",
        "reasons": ["lock tape is held by hog@1 for 1 min 30 s", "it waits behind w1@1"],
        "missing": [{"resource": "tape", "mode": "exclusive", "units": 0, "capacity": 1, "holders": [held]}],
        "ahead": ["w1@1"], "behind": "w1@1", "priority": 3, "effective_priority": 3.025,
        "growth": "3.02 now: 3, plus 2 points for each 2 h of waiting; the highest goes first",
        "points": 2, "every": 7200.0, "waited": 90.0, "expected": None, "dependencies": [], "late": None,
    }  # fmt: skip
    assert to_text(MIDNIGHT + HOUR + 2 * SECOND) == explain(world, "w1@1")["expected"]


def test_what_a_command_has() -> None:
    """Since when and how much of it; nothing where that was not kept."""
    world = World(job("a", locks=(DB, TAPE), resources=(Claim("gpu", 1),)), resources={"gpu": 2})
    since = world.now.wall
    world.happen(events.LockAsked(1, LockClientId(1), (DB, Claim("gpu", 2)), "alice"))
    world.happen(events.LockFound(LockClientId(2), (Claim("x"), TAPE), (), "bob"))
    world.pass_time(60)
    world.run("a", 2)
    one = {
        "run": "alice's command (with-lock)",
        "since": to_text(since),
        "held": "1 min",
        "ends_by": None,
        "lingers": None,
    }
    two = {"run": "bob's command (with-lock)", "since": None, "held": None, "ends_by": None, "lingers": None}
    told = explain(world, "a@1")
    assert [
        ("db", 1, [{**one, "mode": "exclusive", "units": 0}]), ("tape", 1, [{**two, "mode": "exclusive", "units": 0}]),
        ("gpu", 2, [{**one, "mode": "units", "units": 2}]),
    ] == [(it["resource"], it["capacity"], it["holders"]) for it in told["missing"]]  # fmt: skip
    assert [
        "lock db is held by alice's command (with-lock) for 1 min",
        "lock tape is held by bob's command (with-lock)",
        "it needs 1 of the 2 units of gpu; held by alice's command (with-lock) for 1 min",
    ] == told["reasons"]  # fmt: skip


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(1, "w0@1"), (3, "w0@1, w1@1, w2@1"), (4, "w0@1, w1@1, w2@1 and 1 more"), (6, "w0@1, w1@1, w2@1 and 3 more")],
)
def test_whom_it_waits_behind(ahead: int, words: str) -> None:
    """Three are named."""
    world = World(
        job("hog", locks=(TAPE,)), *(job(f"w{number}", locks=(TAPE,)) for number in range(7)), seconds={"hog": 9e9}
    )
    world.run("hog")
    for number in range(ahead + 1):
        world.run(f"w{number}", number)
    assert f"it waits behind {words}" == world.why(f"w{ahead}@1")[-1]


@pytest.mark.parametrize(("holders", "more"), [(5, ""), (6, " and 1 more"), (8, " and 3 more")])
def test_who_has_it(holders: int, more: str) -> None:
    """Five are named."""
    shares = [job(f"s{number}", locks=(Claim("tape"),)) for number in range(holders)]
    world = World(*shares, job("z", locks=(TAPE,)), seconds={one.id: 9e9 for one in shares})
    for one in (*shares, job("z")):
        world.run(one.id)
    named = ", ".join(f"s{number}@1" for number in range(5))
    assert [f"lock tape is held by {named}{more}"] == world.why("z@1")


def test_for_whom_it_is_kept() -> None:
    """The first before it of those that keep what it wants; during a hold it waits behind whoever that is."""
    world = World(
        job("hog", locks=(TAPE,)), job("big", locks=(TAPE, DB)), job("high", locks=(DB,), priority=9),
        job("low", locks=(DB,), priority=-1), job("other", priority=-1), job("own", locks=(Claim("x"),)),
        seconds={"hog": 9e9},
    )  # fmt: skip
    world.run("hog")
    world.run("big", 2)
    world.run("low", 3)
    assert ("big@1", ["its claims are reserved for big@1, which goes first"]) == (
        explain(world, "low@1")["behind"], world.why("low@1"),
    )  # fmt: skip
    world.happen(events.HoldAsked(4, "root", Hold("root", world.now.wall + 2 * HOUR)))
    for ticket, name in enumerate(("high", "other", "own"), 5):
        world.run(name, ticket)
    held = "the host is on hold by root: nothing new starts for 2 h more; to end it: jobqueuectl release"
    told = {name: explain(world, f"{name}@1") for name in ("low", "high", "other", "own")}
    assert {"low": "big@1", "high": None, "other": None, "own": None} == {
        name: it["behind"] for name, it in told.items()
    }
    assert [held, "it waits behind high@1, big@1"] == told["low"]["reasons"]
    assert [[held]] * 3 == [told[name]["reasons"] for name in ("high", "other", "own")]


def test_what_is_alone() -> None:
    """An exclusive run waits for all others, and these for it."""
    world = World(job("a"), job("x", exclusive=True), job("b"), seconds={"a": 60, "x": 9e9})
    for ticket, name in enumerate(("a", "x", "b")):
        world.run(name, ticket)
    assert ["it is exclusive, and other runs are live: a@1"] == world.why("x@1")
    assert [None] == [it["capacity"] for it in explain(world, "x@1")["missing"]]
    world.pass_time(61)
    assert ["an exclusive run is live: x@1"] == world.why("b@1")


def test_one_unit_is_a_lock() -> None:
    """Of more it is told how many there are."""
    world = World(job("a", locks=(Claim("x", 1),)), job("b", locks=(Claim("x", 1),)), seconds={"a": 9e9})
    for ticket, name in enumerate("ab"):
        world.run(name, ticket)
    assert ["lock x is held by a@1"] == world.why("b@1")


@pytest.mark.parametrize(("priority", "pressed"), [(4, True), (5, False), (6, False)])
def test_pressure(priority: int, pressed: bool) -> None:
    """It is a reason for those that are not important enough."""
    world = World(
        job("hog"), job("a", priority=priority, escalation=Escalation(0)), calm=5, max_running=1, seconds={"hog": 9e9}
    )
    world.run("hog")
    world.run("a", 2)
    world.happen(events.UnderPressure("io", world.now.mono + MINUTE))
    words = ["the host is under pressure (io): only runs of priority 5 or more start now"] * pressed
    assert [*words, "max_running 1 is used up by hog@1"] == world.why("a@1")
    assert f"{priority}, which does not grow; the highest goes first" == explain(world, "a@1")["growth"]


def test_while_files_are_read() -> None:
    """A job that is in no file yet may come."""
    world = World(job("a"), seconds={"a": 9e9})
    world.run("a")
    world.run("a", 2)
    world.restore()
    assert ["job a is in no readable job file"] == world.why("a@2")


def test_a_pause() -> None:
    """For how much longer, and what ends it."""
    world = World(job("a"))
    world.pause("a", until=world.now.wall + 3 * HOUR)
    state = world.scheduler._state
    state.put_due(state.number(Occurrence("a", "x", MIDNIGHT), world.now.wall))
    assert ["job a is paused for 3 h more; to resume: jobqueuectl resume a"] == world.why("a@1")
    state.remember("a", paused_until=None)
    assert ["job a is paused; to resume: jobqueuectl resume a"] == world.why("a@1")
    state.remember("a", paused_until=world.now.wall - HOUR)
    assert ["job a is paused for 0 s more; to resume: jobqueuectl resume a"] == world.why("a@1")


def test_what_another_user_has() -> None:
    """A user is told that there is a run, and not which, nor since when."""
    world = World(
        *(job(f"{owner.name}/x", owner=owner, locks=(TAPE,)) for owner in (ALICE, BOB)),
        job("alice/y", owner=ALICE, locks=(TAPE,)), seconds={"bob/x": 9e9},
    )  # fmt: skip
    for ticket, name in enumerate(("bob/x", "alice/x", "alice/y")):
        world.run(name, ticket)
    world.start("bob/x@1")
    other = "a run of another user"
    told = explain(world, "alice/y@1", ALICE)
    assert [f"lock tape is held by {other}", "it waits behind alice/x@1"] == told["reasons"]
    unknown = {"since": None, "held": None, "ends_by": None, "lingers": None}
    assert [{"run": other, "mode": "exclusive", "units": 0, **unknown}] == told["missing"][0]["holders"]
    told = explain(world, "alice/y@1", BOB)
    assert (["lock tape is held by bob/x@1", f"it waits behind {other}"], [other], other) == (
        told["reasons"], told["ahead"], told["behind"],
    )  # fmt: skip


def test_where_no_user_may_run() -> None:
    """The limit is told as it is."""
    world = World(job("alice/x", owner=ALICE), most_of_a_user=0)
    world.run("alice/x")
    assert ["0 runs of alice are live, which is the limit for each user"] == world.why("alice/x@1")
