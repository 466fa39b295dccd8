"""Dependencies: whether a run may start because those it depends on have succeeded, and what makes a job due by them.

With a clock: for the occurrence due at T with P the instant before it in its schedule (none: the load), the newest
occurrence of each dependency due in (P, T] must have succeeded.  Where it is under way, the run waits for it; where
there is none, or it was skipped, for the next success.  Without a clock: a job is due when each of them has succeeded
since it was due last.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.model import LIVE, Job, Now, Run, RunState
from jobqueued.saved import Outcome

WAITS, MET, FAILED = "waits", "met", "failed"


class Verdict(NamedTuple):
    """Of one dependency, or of all: WAITS, MET or FAILED, and why."""

    word: str
    reason: str = ""


_MET = Verdict(MET)


def hold_back(job: Job) -> bool:
    """Whether a job's dependencies hold back what its clock makes due; else they make it due themselves."""
    return bool(job.dependencies and job.triggers)


def verdict(book: SchedulerState, job: Job, run: Run, now: Now) -> Verdict:
    """Whether the dependencies of a run let it start: one that failed decides, then one that is waited for."""
    if run.trigger != "schedule" or run.so_far is not None or not hold_back(job):
        return _MET
    found = [_of(book, name, run) for name in job.dependencies]
    waits = next((one for one in found if one.word is WAITS), None)
    if waits is not None and run.held and now.wall - run.held >= job.dependency_timeout:
        found.append(Verdict(FAILED, f"dependency_timeout: {waits.reason.removeprefix('dependency ')}"))
    failed = next((one for one in found if one.word is FAILED), None)
    if failed is not None:
        return _MET if job.on_dependency_failure == "run" else failed
    return waits or _MET


def note_outcome(book: SchedulerState, run: Run, now: Now) -> None:
    """How an occurrence went, for jobs that depend on it now or one day; its job's memory is saved by the caller."""
    name, due = run.id.job, run.due if run.last_due is None else run.last_due
    book.stir(name)
    if run.state is not RunState.SKIPPED:
        book.finished.append(run)
    state = book[name]
    others = [known for known in state.memory.outcomes if known.run != run.id.number]
    outcome = Outcome(run.id.number, due, now.wall, run.state.value)
    state.memory = replace(state.memory, outcomes=_needed(book, name, (*others, outcome)))


def _needed(book: SchedulerState, name: str, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """The newest outcome, the last success, and what runs that have yet to start, or are about to be due, go by."""
    spans = [(-1, max(known.due for known in outcomes))]
    for job in map(book.catalog.__getitem__, book.catalog.dependents(name)):
        state, start = book[job.id], book.clock.next(job.id)
        pending = map(book.runs.__getitem__, (*state.due, *state.waiting, *state.later))
        spans += [(run.previous, run.due) for run in pending]
        if start is not None:
            spans.append((state.memory.cursor, start - job.offset))
    needed = {_newest(outcomes, *span) for span in spans}
    needed.add(max((known for known in outcomes if known.state == RunState.SUCCEEDED), key=_ended, default=None))
    return tuple(known for known in outcomes if known in needed)


def _ended(outcome: Outcome) -> int:
    return outcome.ended


def _of(book: SchedulerState, name: str, run: Run) -> Verdict:
    """The verdict of one dependency: that of its newest occurrence due after `run.previous`, and not after the run."""
    coming = book.clock.next(name)
    job = book.catalog.get(name)
    if job is not None and coming is not None and coming - job.offset <= run.due:
        return Verdict(WAITS, f"dependency {name}: it is due, and about to start as `spread` has it")
    newest = _newest(book[name].memory.outcomes, run.previous, run.due)
    moving = _moving(book, name)
    inside = [other for other in moving if run.previous < other.due <= run.due]
    last = max(inside, key=lambda other: (other.due, other.id.number), default=None)
    if last is not None and (newest is None or (newest.due, newest.run) < (last.due, last.id.number)):
        return Verdict(WAITS, f"dependency {name}: {last.id} is {last.state}")
    if newest is not None and newest.state == RunState.SUCCEEDED:
        return _MET
    if newest is not None and newest.state != RunState.SKIPPED:
        return Verdict(FAILED, f"dependency {name}: {name}@{newest.run} {newest.state.replace('_', ' ')}")
    if any(
        known.state == RunState.SUCCEEDED and known.ended >= (run.held or run.queued)
        for known in book[name].memory.outcomes
    ):
        return _MET
    return _next_success(book, name, moving)


def _newest(outcomes: tuple[Outcome, ...], previous: int, due: int) -> Outcome | None:
    inside = [known for known in outcomes if previous < known.due <= due]
    return max(inside, key=lambda known: (known.due, known.run), default=None)


def _moving(book: SchedulerState, name: str) -> list[Run]:
    """The runs of a job that go on: of a paused one only those that are live."""
    runs = [book.runs[run] for run in book[name].unfinished]
    return [run for run in runs if run.state in LIVE] if book[name].memory.paused else runs


def _next_success(book: SchedulerState, name: str, moving: list[Run]) -> Verdict:
    """Nothing in its time has run: can there be a success later?"""
    job = book.catalog.get(name)
    if job is None:
        return Verdict(FAILED, f"dependency {name}: there is no such job")
    if moving:
        first = min(moving, key=lambda run: run.id)
        return Verdict(WAITS, f"dependency {name}: {first.id} is {first.state}")
    if book[name].memory.paused:
        return Verdict(FAILED, f"dependency {name}: it is paused")
    if reason := book.invalid(job):
        return Verdict(FAILED, f"dependency {name}: it is invalid: {reason}")
    return Verdict(WAITS, f"dependency {name}: it has not run in time, so its next success is awaited")


def satisfy(book: SchedulerState, name: str, job: Job) -> bool:
    """A run of `name`, on which `job` depends, has succeeded; whether that makes `job` due."""
    state = book[job.id]
    satisfied = {*state.memory.satisfied, name} & set(job.dependencies)
    state.memory = replace(state.memory, satisfied=tuple(sorted(satisfied)))
    return satisfied == set(job.dependencies)
