"""Dependencies judged one by one: tables of what has become of them, and what that means for a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from jobqueued.base.instants import HOUR, MINUTE
from jobqueued.core.runs.dependencies import DependencyStates, hold_back, note_outcome, satisfy, verdict
from jobqueued.core.state.job_state import Invalidity, JobFault
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.job import Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import Outcome
from tests.support.world import MIDNIGHT, World, ended, job

BEFORE, DUE = MIDNIGHT + 10 * HOUR, MIDNIGHT + 11 * HOUR
RUN = Run(id=RunId("a", 1), key="c0.1", due=DUE, queued=DUE, arrival=1, previous=BEFORE, held=DUE)
MET, AWAITED, FAILED = DependencyStates.MET, DependencyStates.AWAITED, DependencyStates.FAILED
LATER = "it has not run in time; waiting for its next success"
Prepare = Callable[[SchedulerState], object]


def state_with(job_d: Job | None, *outcomes: Outcome) -> SchedulerState:
    """A host on which job a depends on d, of which these are the outcomes."""
    world = World(job("a", "0 * * * *", dependencies=("d",)), *([] if job_d is None else [job_d]))
    state = world.scheduler._state
    state.remember("d", outcomes=outcomes)
    return state


def outcome(run: int, minutes: int, state: str = "succeeded", ended: int = 0) -> Outcome:
    """The end of a run, due so many minutes after the occurrence before, at so many minutes after this one."""
    return Outcome(run, BEFORE + minutes * MINUTE, DUE + ended * MINUTE, state)


def moving(number: int, minutes: int, *, live: bool = False) -> Prepare:
    """A run of d that goes on, due so many minutes after the occurrence before."""

    def put(state: SchedulerState) -> None:
        run = Run(id=RunId("d", number), key="x", due=BEFORE + minutes * MINUTE, queued=DUE, arrival=number)
        state.remember("d", last_number=number)
        (state.put_live(replace(run, state=RunState.RUNNING), World().now) if live else state.put_due(run))

    return put


def both(*parts: Prepare) -> Prepare:
    return lambda state: [part(state) for part in parts]


def nothing(_: SchedulerState) -> None:
    """Nothing else has happened."""


def paused(state: SchedulerState) -> None:
    state.remember("d", paused=True)


def invalid(state: SchedulerState) -> None:
    state["d"].invalid = Invalidity(JobFault.IMPOSSIBLE, "too much")


D, HOURLY = job("d"), job("d", "0 * * * *", offset=5 * MINUTE)
TABLE: list[tuple[Job | None, tuple[Outcome, ...], Prepare, DependencyStates, str]] = [
    # by its newest occurrence in time
    (D, (outcome(1, 60),), nothing, MET, ""),
    (D, (outcome(1, 1),), nothing, MET, ""),
    (D, (outcome(1, 0, ended=-1),), nothing, AWAITED, LATER),
    (D, (outcome(1, 61, ended=-1),), nothing, AWAITED, LATER),
    (D, (outcome(1, 60, "timed_out"),), nothing, FAILED, "d@1 timed out"),
    (D, (outcome(1, 30), outcome(2, 20, "failed")), nothing, MET, ""),
    (D, (outcome(1, 30, "failed"), outcome(2, 20)), nothing, FAILED, "d@1 failed"),
    (D, (outcome(1, 30, "failed"), outcome(2, 30)), nothing, MET, ""),
    (D, (outcome(2, 30, "failed"), outcome(1, 30)), nothing, FAILED, "d@2 failed"),
    # that is still under way
    (D, (), moving(1, 60), AWAITED, "d@1 is due"),
    (D, (outcome(1, 60),), moving(2, 60), AWAITED, "d@2 is due"),
    (D, (outcome(2, 60),), moving(1, 60), MET, ""),
    (D, (outcome(2, 30),), moving(1, 31), AWAITED, "d@1 is due"),
    (D, (outcome(2, 31),), moving(3, 30), MET, ""),
    (D, (outcome(2, 60),), moving(3, 61), MET, ""),
    (D, (), both(moving(1, 20), moving(3, 40), moving(2, 40)), AWAITED, "d@3 is due"),
    # of which there is none in time, or only a skip: any success since it was held
    (D, (outcome(1, 30, "skipped"),), nothing, AWAITED, LATER),
    (D, (outcome(1, 30, "skipped"), outcome(2, -9, ended=0)), nothing, MET, ""),
    (D, (outcome(1, 70, "failed", ended=5),), nothing, AWAITED, LATER),
    (D, (), both(moving(2, 0), moving(1, 61)), AWAITED, "d@1 is due"),
    # of which there may never be one
    (D, (), both(paused, moving(1, 0)), FAILED, "it is paused"),
    (D, (), both(paused, moving(2, 0, live=True), moving(1, 0)), AWAITED, "d@2 is running"),
    (D, (), invalid, FAILED, "it is invalid: too much"),
    (job("d", enabled=False), (), nothing, FAILED, "it is disabled"),
    (job("d", max_runs=0), (), nothing, FAILED, "its `max_runs` have started"),
    (None, (), nothing, FAILED, "no such job"),
    (
        None, (), lambda state: setattr(state, "complete", False), AWAITED,
        "its file does not exist yet, or can't be read",
    ),
    (D, (), lambda state: setattr(state, "complete", False), AWAITED, LATER),
    # by the clock, which has yet to start it
    (HOURLY, (outcome(1, 30),), lambda state: state.remember("d", cursor=BEFORE) and state.set_clock(HOURLY), AWAITED,
     "it is due and starts soon (`spread`)"),
    (HOURLY, (outcome(1, 30),), lambda state: state.remember("d", cursor=DUE) and state.set_clock(HOURLY), MET, ""),
    # that was set back, and comes to the same time again
    (HOURLY, (outcome(1, 60),), lambda state: state.remember("d", cursor=BEFORE) and state.set_clock(HOURLY), MET, ""),
    (HOURLY, (), both(moving(1, 60), lambda state: state.remember("d", cursor=BEFORE) and state.set_clock(HOURLY)),
     AWAITED, "d@1 is due"),
    (HOURLY, (), lambda state: state.remember("d", cursor=BEFORE, settled=DUE) and state.set_clock(HOURLY), AWAITED,
     LATER),
]  # fmt: skip


@pytest.mark.parametrize(("job_d", "outcomes", "prepare", "expected", "why"), TABLE)
def test_one_dependency(
    job_d: Job | None, outcomes: tuple[Outcome, ...], prepare: Prepare, expected: DependencyStates, why: str
) -> None:
    """The newest occurrence of the dependency that is due after the one before, and not after this one, decides."""
    state = state_with(job_d, *outcomes)
    prepare(state)
    found = verdict(state, state.catalog["a"], RUN, World().now)
    assert (expected, why) == (found.state, found.why)


def test_since_it_was_queued() -> None:
    """A run that was not held counts successes since it was queued, another since it was held."""
    state = state_with(D, outcome(1, -9, ended=-1))
    assert AWAITED is verdict(state, state.catalog["a"], replace(RUN, queued=BEFORE), World().now).state
    run = replace(RUN, held=0)
    assert AWAITED is verdict(state, state.catalog["a"], run, World().now).state
    assert MET is verdict(state, state.catalog["a"], replace(run, queued=DUE - MINUTE), World().now).state


def test_of_several() -> None:
    """One that has failed decides, then one that is awaited, until its time is over; and what is to be done then."""
    names = ("met", "awaited", "failed")
    world = World(
        *map(job, names), job("a", "0 * * * *", dependencies=names[:2], dependency_timeout=HOUR),
        job("b", "0 * * * *", dependencies=names), job("c", "0 * * * *", dependencies=names[:1], dependency_timeout=1),
        job("d", "0 * * * *", dependencies=names, on_dependency_failure="run"), job("e", dependencies=names),
    )  # fmt: skip
    state, now = world.scheduler._state, World(start=DUE + HOUR).now
    state.remember("met", outcomes=(outcome(1, 30),))
    state.remember("failed", outcomes=(outcome(1, 30, "failed"),))

    def judged(name: str, run: Run = RUN, before: int = 0) -> str:
        found = verdict(state, state.catalog[name], run, now._replace(wall=now.wall - before))
        return f"{found.state.name} {found.dependency} {found.timed_out} {found.reason if found.why else ''}"

    assert f"FAILED awaited True dependency_timeout: awaited: {LATER}" == judged("a")
    assert f"AWAITED awaited False dependency awaited: {LATER}" == judged("a", before=1)
    assert f"AWAITED awaited False dependency awaited: {LATER}" == judged("a", replace(RUN, held=0))
    assert "FAILED failed False dependency failed: failed@1 failed" == judged("b", before=1)
    assert ["MET  False "] * 2 == [judged("c"), judged("d")]
    assert "MET  False " == judged("b", replace(RUN, trigger="manual"))
    assert "MET  False " == judged("b", replace(RUN, so_far=ended(RUN.id)))
    assert "MET  False " == judged("e")
    assert [True, False, False] == [hold_back(one) for one in (state.catalog["b"], state.catalog["e"], HOURLY)]


def test_what_is_kept() -> None:
    """The newest outcome, the last success, and what runs go by that are yet to start, or are about to be due."""
    world = World(job("d"), job("a", "0 * * * *", dependencies=("d",), offset=5 * MINUTE))
    state = world.scheduler._state
    state.put_due(replace(RUN, id=RunId("a", 7), previous=BEFORE - 2 * HOUR, due=BEFORE - HOUR))
    state.remember("a", cursor=BEFORE)
    state.set_clock(state.catalog["a"])
    kept = {
        outcome(1, -90, "failed"): True,  # what a@7 goes by
        outcome(2, -95, "failed"): False,
        outcome(4, -30, ended=5): True,  # the last success
        outcome(5, -20, "failed", ended=9): False,
        outcome(6, -10, ended=3): False,
        outcome(7, 60, "failed"): True,  # what the next occurrence goes by
        outcome(8, 59, "failed"): False,
        outcome(9, 61, "skipped"): False,
    }
    state.remember("d", outcomes=(*kept, outcome(10, 60, "skipped")))
    run = Run(id=RunId("d", 10), key="x", due=BEFORE, queued=DUE, arrival=1, last_due=BEFORE + 90 * MINUTE)
    turn = Turn(state, world.now)
    note_outcome(turn, replace(run, state=RunState.SKIPPED))
    grown = Outcome(10, BEFORE + 90 * MINUTE, world.now.wall, "skipped")
    expected = [it for it, is_kept in kept.items() if is_kept]
    assert (*expected, grown) == state["d"].saved.outcomes


def test_satisfied() -> None:
    """A job without a clock is due when all that it depends on have succeeded since; others do not count."""
    world = World(job("a", dependencies=("b", "c")), job("b"), job("c"))
    turn, b, c = Turn(world.scheduler._state, world.now), RunId("b", 5), RunId("c", 3)
    turn.state.remember("a", satisfied=("z",), ends=(RunId("z", 1), RunId("c", 1)))

    def told(run: RunId, *, counts: bool) -> tuple[tuple[RunId, ...], tuple[str, ...], tuple[RunId, ...]]:
        found = satisfy(turn, replace(RUN, id=run), turn.state.catalog["a"], counts=counts)
        return found, turn.state["a"].saved.satisfied, turn.state["a"].saved.ends

    assert ((), ("c",), (c,)) == told(c, counts=True)
    assert ((), ("c",), (c,)) == told(RunId("b", 4), counts=False)
    assert ((b, c), ("b", "c"), (b, c)) == told(b, counts=True)
    assert ((b, c), ("b", "c"), (b, c)) == told(RunId("c", 4), counts=False)
