"""Occurrences: what the clock, a boot or a person makes due becomes a run, or a skip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from jobqueued import catchup, events
from jobqueued.book import Book
from jobqueued.commands import Command, LookUp, Reply, SaveBoot, SaveJob, SaveRun, Say
from jobqueued.model import HOUR, SECOND, CatchUp, Job, Now, Occurrence, RunState
from jobqueued.skips import CLOCK, Cause, skip

JOBS_A_TURN = 64
DUES_A_TURN = 1000
STEP_LIMIT = 3 * HOUR
HELD_FROM_CLOCK, HELD_FROM_OTHERS = 1, 100


def woke(book: Book, now: Now) -> Iterator[Command]:
    """Whatever the clock has made due by now."""
    for name in book.clock.take(now.wall, JOBS_A_TURN):
        yield from _come_due(book, book.catalog[name], now)


def catch_clock(book: Book, job: Job, now: Now) -> Iterator[Command]:
    """All that the clock has made due of one job by now: before anything about it changes."""
    while (start := book.clock.next(job.id)) is not None and start <= now.wall:
        yield from _come_due(book, job, now)


def forgo(book: Book, job: Job, reason: str, now: Now) -> Iterator[Command]:
    """Occurrences that are due but whose start `spread` has put off never run: the job is another's by now."""
    state = book[job.id]
    dues, _ = _dues(job, state.memory.cursor, now.wall) if job.offset and job.enabled else ([], None)
    if dues:
        state.memory = replace(state.memory, cursor=dues[-1])
        yield from skip(book, job, list(map(partial(Occurrence.clock, job.id, state.memory.era), dues)), reason, now)


def _dues(job: Job, cursor: int, wall: int) -> tuple[list[int], int | None]:
    """The due times after the cursor up to `wall`, as many as one turn takes, and the one that follows them."""
    dues: list[int] = []
    due = job.next_after(cursor)
    while due is not None and due <= wall and len(dues) < DUES_A_TURN:
        dues.append(due)
        due = job.next_after(due)
    return dues, due


def _come_due(book: Book, job: Job, now: Now) -> Iterator[Command]:
    """Every instant from the cursor to now becomes a run or a skip, and the cursor moves past them."""
    state = book[job.id]
    wall = now.wall - job.offset
    dues, due = _dues(job, state.memory.cursor, wall)
    state.memory = replace(state.memory, cursor=dues[-1])
    book.clock.set(job, state.memory.cursor)
    named = partial(Occurrence.clock, job.id, state.memory.era)
    if state.memory.paused:
        yield from skip(book, job, list(map(named, dues)), "paused", now)
        return
    todo = catchup.sort_out(job, dues, wall, complete=due is None or due > wall)
    if todo.missed:
        yield from skip(book, job, list(map(named, todo.missed)), "missed", now)
    limit = HELD_FROM_OTHERS if job.catch_up is CatchUp.ALL else HELD_FROM_CLOCK
    for instant in todo.run:
        yield from _new(book, job, named(instant), limit, now, CLOCK)


def clock_stepped(book: Book, event: events.ClockStepped, now: Now) -> Iterator[Command]:
    """Steps up to 3 h are gaps like any other (backward: the cursor stays).  A larger one is a correction."""
    yield Say("clock_stepped", {"seconds": event.step / SECOND})
    if abs(event.step) <= STEP_LIMIT:
        return
    for job in book.catalog:
        state = book[job.id]
        start = book.clock.next(job.id)
        era = state.memory.era + (event.step < 0)
        state.memory = replace(state.memory, cursor=now.wall, era=era)
        yield SaveJob(state.memory)
        if start is not None and start <= now.wall:
            yield from skip(book, job, [Occurrence.clock(job.id, era, start - job.offset)], "clock", now)
        book.clock.set(job, state.memory.cursor)


def booted(book: Book, boot: str, now: Now) -> Iterator[Command]:
    """The host was booted since the daemon last ran; this is known once and for all with the runs it makes."""
    for job in book.catalog:
        if job.at_boot and job.enabled:
            yield from _new(book, job, Occurrence(job.id, f"b{boot}", now.wall), HELD_FROM_OTHERS, now, Cause("boot"))
    yield SaveBoot(boot)


def asked(book: Book, event: events.RunAsked, now: Now) -> Iterator[Command]:
    """Somebody wants a job to run now."""
    job = book.catalog.get(event.job)
    if job is None:
        yield Reply(event.ticket, {"job": event.job}, "NoSuchJob")
        return
    occurrence = Occurrence(job.id, event.key, now.wall)
    made = list(_new(book, job, occurrence, HELD_FROM_OTHERS, now, Cause("manual", event.asked_by)))
    yield from made
    run = next(command.run for command in reversed(made) if isinstance(command, SaveRun))
    if run.state is RunState.SKIPPED:
        yield Reply(event.ticket, {"reason": f"{run.id} was skipped: {run.reason}"}, "Refused")
    else:
        yield Reply(event.ticket, {"run": str(run.id)})


def _new(book: Book, job: Job, occurrence: Occurrence, limit: int, now: Now, cause: Cause) -> Iterator[Command]:
    """A run for the occurrence; a skip where the job is paused, or holds its limit of runs that have not started."""
    state = book[job.id]
    if state.memory.paused:
        yield from skip(book, job, [occurrence], "paused", now, cause)
        return
    if state.held >= (limit if job.max_waiting is None else job.max_waiting):
        yield from skip(book, job, [occurrence], "queue_full", now, cause)
        return
    run = book.number(occurrence, now.wall, *cause)
    book.put_due(run)
    book.promote(job.id)
    yield SaveRun(book.runs[run.id])
    yield SaveJob(state.memory)
    if job.user is not None and book.users.get(job.user) != "":
        yield LookUp(job.user)
