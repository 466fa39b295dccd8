"""Skips in a row share a record: only where nothing tells them apart."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.base.instants import HOUR, MINUTE, to_text
from jobqueued.base.replace import changed
from jobqueued.child.contract.reasons import parse
from jobqueued.core.records.recollection import run_of
from jobqueued.core.runs.skips import Cause, skip, skip_run
from jobqueued.core.state.turn import Turn
from jobqueued.model import events
from jobqueued.model.commands import ForgetRun, Say, WriteRecord
from jobqueued.model.job import CatchUp, Claim, Job, Occurrence
from jobqueued.model.notify import Late
from jobqueued.model.run import RunId
from jobqueued.model.saved import Hold
from jobqueued.model.users import Owner
from tests.support.world import MIDNIGHT, World, job

A = RunId("a", 1)
ALICE, BOB = Owner(1, "alice"), Owner(2, "bob")


@pytest.mark.parametrize(
    ("first", "second", "runs"),
    [
        ({}, {}, [1, 1]),
        ({}, {"reason": "y"}, [1, 2]),
        ({"cause": Cause("boot")}, {}, [1, 2]),
        ({"cause": Cause("manual", "root")}, {"cause": Cause("manual", "root")}, [1, 1]),
        ({"cause": Cause("manual", "root")}, {"cause": Cause("manual", "eve")}, [1, 2]),
        ({"owner": ALICE}, {"owner": ALICE}, [1, 1]),
        ({"owner": ALICE}, {"owner": BOB}, [1, 2]),
        ({"key": "c0.5"}, {"key": "c0.9"}, [1, 1]),
        ({"key": "c0.5"}, {"key": "c1.9"}, [1, 2]),
        ({"key": "x0.5"}, {"key": "x1.9"}, [1, 1]),
    ],
)
def test_two_in_a_row(first: dict[str, Any], second: dict[str, Any], runs: list[int]) -> None:
    """The same reason, trigger, person, owner, and era of the clock."""
    world = World(job("a"))
    state, numbers = world.scheduler._state, []
    for due, fields in ((5, first), (7, second)):
        turn = Turn(state, world.now)
        it: Job = job("a", owner=fields.get("owner"))
        state.catalog.replace_file("jobs.yaml", (it,))
        run = skip(
            turn,
            it,
            [Occurrence("a", fields.get("key", "x"), due)],
            parse(fields.get("reason", "x")),
            fields.get("cause", Cause()),
        )
        numbers.append(run.id.number)
        done = turn.finish()
        assert [7 if due == 7 or len({*numbers}) > 1 else 5] == [run.last_due]
        told = next(it.fields for it in done if isinstance(it, Say))
        count = 2 if due == 7 and runs == [1, 1] else 1
        assert {"first": due, "due": due, "times": 1, "count": count, "reason": run.reason}.items() <= told.items()
        assert (str(run.id), str(run.id), "a") == (told["first_run"], told["run"], told["job"])
        (document,) = (it.record for it in done if isinstance(it, WriteRecord))
        assert (count, run.id.number) == (document["count"], document["number"])
    assert (runs, 2) == (numbers, state["a"].saved.stats.skipped)


def waits_and_ends(how: str) -> World:
    """A job whose last due time was skipped for its deadline, and the run of the next ends likewise, or so."""
    fields = {"start_deadline": MINUTE, "max_waiting": 9}
    world = World(job("a", "0 * * * *", **fields), job("hog", priority=9), max_running=1, seconds={"hog": 9e9})
    world.run("hog")
    world.pass_time(3600 + 60)
    assert {"a@1": "skipped"}.items() <= world.states().items()
    world.pass_time(3600 - 60)
    if how == "behind another":
        world.run("a", 3)
    if how == "stopped":
        world.stop("a@2", 3)
    if how == "by hand":
        world.stop("a@2", 3)
        world.run("a", 4)
    if how == "another reason":
        world.write("jobs.yaml", job("hog", priority=9))
    world.pass_time(60)
    return world


@pytest.mark.parametrize(
    ("how", "covered", "left"),
    [
        ("alike", ["01:00…02:00 start_deadline ×2"], [1]),
        ("behind another", ["01:00 start_deadline", "02:00 start_deadline", "02:00 start_deadline"], [1, 2, 3]),
        ("stopped", ["01:00 start_deadline", "02:00 stopped by root"], [1, 2]),
        ("by hand", ["01:00 start_deadline", "02:00 stopped by root", "02:00 start_deadline"], [1, 2, 3]),
        ("another reason", ["01:00 start_deadline", "02:00 job_removed"], [1, 2]),
    ],
)
def test_a_run_that_joins_the_skip_before_it(how: str, covered: list[str], left: list[int]) -> None:
    """Only the newest, of the clock, for the same reason, and by nobody's wish; it leaves nothing."""
    world = waits_and_ends(how)
    assert (covered, left) == (world.covered("a"), sorted(run.number for run in world.rows if run.job == "a"))
    if how == "alike":
        assert 2 == world.scheduler["a"].saved.last_number
        assert not [it for it in world.did if isinstance(it, ForgetRun)]


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_skip_tells_of_its_wait(restart: bool) -> None:
    """A run that is given up leaves when that was, what it lacked, and what it asked for; several those of the last."""
    tape = (Claim("tape", exclusive=True),)
    waiting = job("a", "0 * * * *", locks=tape, start_deadline=MINUTE)
    world = World(waiting, job("hog", locks=tape), seconds={"hog": 9e9})
    world.run("hog")
    asked = [{"resource": "tape", "mode": "exclusive", "units": 0, "of": 1}]
    for hour in (1, 2):
        world.pass_time(3600 + 60 * (hour == 1))
        if restart:
            world.boot()
        _, document = world.rows[A]
        assert document is not None
        ended = to_text(MIDNIGHT + hour * HOUR + MINUTE)
        assert (hour, "start_deadline", ended) == (document["count"], document["reason"], document["given_up"])
        assert (["tape"], asked) == (document["waited_for"], document["claims"])
        assert run_of(document) == changed(run_of(document), given_up=MIDNIGHT + hour * HOUR + MINUTE, lacked=("tape",))


def test_one_that_did_not_wait_joins_one_that_did() -> None:
    """A run whose deadline had passed as the scheduler came back leaves the facts of the last that waited."""
    tape = (Claim("tape", exclusive=True),)
    waiting = job("a", "0 * * * *", locks=tape, start_deadline=MINUTE, catch_up=CatchUp.ALL)
    world = World(waiting, job("hog", locks=tape), seconds={"hog": 9e9})
    world.run("hog")
    world.pass_time(3600 + 120)
    world.pass_time(3600, scheduler=False)
    world.boot()
    world.pass_time(1)
    _, document = world.rows[A]
    assert document is not None
    assert ["01:00…02:00 start_deadline ×2"] == world.covered("a")
    assert (["tape"], to_text(MIDNIGHT + HOUR + MINUTE)) == (document["waited_for"], document["given_up"])


def test_what_never_was_a_run_has_no_wait() -> None:
    """What is skipped as it comes due tells of none, nor of what it asked for."""
    world = World(job("a", "0 * * * *", max_waiting=1, locks=(Claim("tape", exclusive=True),)))
    world.happen(events.HoldAsked(3, "root", Hold("root")))
    world.pass_time(2 * 3600)
    (document,) = (it for _, it in world.rows.values() if it is not None)
    assert ("queue_full", []) == (document["reason"], document["waited_for"])
    assert not {"given_up", "claims"} & document.keys()


def test_one_that_was_sent_is_its_own() -> None:
    """A run that has been with the launcher leaves a record of its own."""
    world = World(job("a", "0 * * * *", start_deadline=2 * MINUTE), job("hog"), max_running=1, seconds={"hog": 9e9})
    world.run("hog")
    world.pass_time(3600 + 120)
    world.stop("hog@1", 2)
    world.pass_time(3600 - 120)
    run = RunId("a", 2)
    world.processes.clear()
    world.happen(events.HoldAsked(3, "root", Hold("root")), events.NeverStarted(run, 1))
    world.pass_time(120)
    assert ["01:00 start_deadline", "02:00 start_deadline"] == world.covered("a")


def test_a_late_one() -> None:
    """That it is over is said with the reason of the skip."""
    world = World(
        job("a", late=Late(after=MINUTE), start_deadline=HOUR), job("hog"), max_running=1, seconds={"hog": 9e9}
    )
    world.run("hog")
    world.run("a", 2)
    world.pass_time(3600)
    told = {"job": "a", "run": "a@1", "state": "skipped", "reason": "start_deadline"}
    assert Say("late_over", told) == world.did[-1]
    assert MIDNIGHT + HOUR == world.now.wall


def test_an_older_run_joins_no_newer_skip() -> None:
    """It has come before that, so its number would be in the wrong place."""
    world = World(job("a"))
    state, it = world.scheduler._state, world.scheduler.catalog["a"]
    turn = Turn(state, world.now)
    runs = []
    for due in (1, 3):
        runs.append(state.number(Occurrence("a", f"c0.{due}", due), world.now.wall))
        state.put_due(runs[-1])
        if due == 1:
            skip(turn, it, [Occurrence("a", "c0.2", 2)], parse("x"))
    for run in runs:
        skip_run(turn, run, parse("x"), it, joins=True)
    documents = [command.record for command in turn.finish() if isinstance(command, WriteRecord)]
    assert [(1, 1), (2, 2)] == [(document["number"], document["count"]) for document in documents]


def test_one_record_a_turn() -> None:
    """Occurrences that join one skip in one turn write its record once; another job's record stays in its place."""
    world = World(job("a"), job("b"))
    catalog = world.scheduler.catalog
    turn = Turn(world.scheduler._state, world.now)
    for due in range(3):
        for name in "ab"[: 2 - due % 2]:
            skip(turn, catalog[name], [Occurrence(name, f"c0.{due}", due)], parse("x"))
    skip(turn, catalog["a"], [Occurrence("a", "c0.3", 3)], parse("y"))
    documents = [command.record for command in turn.finish() if isinstance(command, WriteRecord)]
    found = [(it["job"], it["number"], it["count"], it["reason"]) for it in documents]
    assert [("a", 1, 3, "x"), ("b", 1, 2, "x"), ("a", 2, 1, "y")] == found


def waits_twice(*schedules: str, **fields: Any) -> World:
    """A job of which runs wait for another that never ends, and are given up after a minute."""
    world = World(
        job("a", *schedules, start_deadline=MINUTE, **fields),
        job("hog", priority=9),
        max_running=1,
        seconds={"hog": 9e9},
    )
    world.run("hog")
    return world


def test_each_wish_of_a_person_has_a_record() -> None:
    """Runs that people ask for, and those that they stop, join no other."""
    world = waits_twice()
    for ticket in (2, 3):
        world.run("a", ticket)
        world.pass_time(60)
    for ticket in (4, 6):
        world.run("a", ticket)
        world.stop(f"a@{ticket // 2 + 1}", ticket + 1)
    reasons = ["start_deadline"] * 2 + ["stopped by root"] * 2
    assert reasons == [run.reason for run, _ in world.rows.values() if run.state == "skipped"]
    clock = World(job("a", "0 * * * *"), job("hog"), max_running=1, seconds={"hog": 9e9})
    clock.run("hog")
    for number in (1, 2):
        clock.pass_time(3600)
        clock.stop(f"a@{number}")
    assert ["01:00 stopped by root", "02:00 stopped by root"] == clock.covered("a")


def test_no_run_joins_a_skip_of_another_era() -> None:
    """After a correction of the clock."""
    world = waits_twice("0 * * * *")
    world.pass_time(3660)
    world.step_clock(-4 * 3600)
    world.pass_time(3600)
    assert ["01:00 start_deadline", "22:00 start_deadline"] == world.covered("a")
