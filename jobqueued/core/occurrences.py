"""Occurrences: what the clock, a boot, an event, another job or a person makes due becomes a run, or a skip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from jobqueued import events
from jobqueued.commands import Command, LookUp, Reply, SaveBoot, SaveJob, SaveRun, Say
from jobqueued.core import dependencies
from jobqueued.core.completion import give_up
from jobqueued.core.eligibility import UNTIL, resumed, watch_over
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.core.skips import CLOCK, Cause, skip
from jobqueued.core.stops import stop
from jobqueued.model import HOUR, MINUTE, SECOND, CatchUp, Job, Now, Occurrence, Overlap, Run, RunState
from jobqueued.timing import catch_up

JOBS_A_TURN = 64
DUES_A_TURN = 1000
STEP_LIMIT = 3 * HOUR
HELD_FROM_CLOCK, HELD_FROM_OTHERS = 1, 100
FUSE, NEW = 100, 10 * SECOND
"""So many occurrences a minute, not older than that, a job may get from the clock; more are a defect."""


def woke(book: SchedulerState, now: Now) -> Iterator[Command]:
    """Whatever the clock has made due by now."""
    for name in book.clock.take(now.wall, JOBS_A_TURN):
        yield from _come_due(book, book.catalog[name], now)


def catch_clock(book: SchedulerState, job: Job, now: Now) -> Iterator[Command]:
    """All that the clock has made due of one job by now: before anything about it changes."""
    while (start := book.clock.next(job.id)) is not None and start <= now.wall:
        yield from _come_due(book, job, now)


def forgo(book: SchedulerState, job: Job, reason: str, now: Now) -> Iterator[Command]:
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


def _come_due(book: SchedulerState, job: Job, now: Now) -> Iterator[Command]:
    """Every instant from the cursor to now becomes a run or a skip, and the cursor moves past them."""
    state = book[job.id]
    wall, cursor = now.wall - job.offset, state.memory.cursor
    dues, due = _dues(job, cursor, wall)
    before = dict(zip(dues, [state.memory.previous or cursor, *dues], strict=False))
    skips = tuple(due for due in state.memory.skips if due > cursor)
    state.memory = replace(state.memory, cursor=dues[-1], previous=0, skips=skips)
    book.wind(job)
    named = partial(Occurrence.clock, job.id, state.memory.era)
    if state.memory.paused:
        until = now.wall if state.memory.paused_until is None else min(state.memory.paused_until, now.wall)
        during = [due for due in dues if due + job.offset <= until]
        if during:
            yield from skip(book, job, list(map(named, during)), "paused", now)
        if until == now.wall:
            return
        yield from resumed(book, job.id, UNTIL)
        dues = dues[len(during) :]
    todo = catch_up.sort_out(job, dues, wall, complete=due is None or due > wall)
    if todo.missed:
        yield from skip(book, job, list(map(named, todo.missed)), "missed", now)
    limit = HELD_FROM_OTHERS if job.catch_up is CatchUp.ALL else HELD_FROM_CLOCK
    fresh = sum(wall - instant <= NEW for instant in todo.run)
    if fresh and _blows_fuse(book, job, fresh, now):
        yield Say("fuse", {"job": job.id}) if not state.fuse_blown else SaveJob(state.memory)
        state.fuse_blown = True
        yield from skip(book, job, list(map(named, todo.run)), "fuse", now)
        return
    for instant in todo.run:
        yield from _new_of_clock(book, job, named(instant), limit, now, before[instant])


def _blows_fuse(book: SchedulerState, job: Job, fresh: int, now: Now) -> bool:
    """Whether these occurrences are too many; a minute with fewer mends it."""
    state = book[job.id]
    count, since = state.fresh
    if now.mono - since >= MINUTE:
        state.fuse_blown = state.fuse_blown and count > FUSE and now.mono - since < 2 * MINUTE
        count, since = 0, now.mono
    state.fresh = count + fresh, since
    return state.fuse_blown or count + fresh > FUSE


def _new_of_clock(
    book: SchedulerState, job: Job, occurrence: Occurrence, limit: int, now: Now, previous: int
) -> Iterator[Command]:
    """What the clock makes due may have been asked to be skipped, and takes the place of one that waits for others."""
    if occurrence.due in book[job.id].memory.skips:
        yield from skip(book, job, [occurrence], "skip_next", now)
        return
    waits = [run for run in map(book.runs.__getitem__, book[job.id].due) if _waits(book, job, run, now)]
    if not _refusal(book, job, limit + len(waits)):
        for run in waits:
            yield from give_up(book, run, "superseded", now)
    yield from _new(book, job, occurrence, limit, now, CLOCK, previous)


def _waits(book: SchedulerState, job: Job, run: Run, now: Now) -> bool:
    return bool(run.held) and dependencies.verdict(book, job, run, now).word is dependencies.WAITS


def clock_stepped(book: SchedulerState, event: events.ClockStepped, now: Now) -> Iterator[Command]:
    """Steps up to 3 h are gaps like any other (backward: the cursor stays).  A larger one is a correction."""
    yield Say("clock_stepped", {"seconds": event.step / SECOND})
    yield from _shifted(book, event.step)
    for job in book.catalog.awaiting_paths():
        memory = book[job.id].memory
        if memory.appeared > now.wall:  # else no file would be new until the clock is there again
            book[job.id].memory = replace(memory, appeared=now.wall)
            yield SaveJob(book[job.id].memory)
    if abs(event.step) <= STEP_LIMIT:
        return
    for job in book.catalog:
        state = book[job.id]
        start = book.clock.next(job.id)
        era = state.memory.era + (event.step < 0)
        state.memory = replace(state.memory, cursor=now.wall, previous=0, era=era)
        yield SaveJob(state.memory)
        if start is not None and start <= now.wall:
            yield from skip(book, job, [Occurrence.clock(job.id, era, start - job.offset)], "clock", now)
        book.wind(job)


def slept(book: SchedulerState, event: events.Slept) -> Iterator[Command]:
    """What durations count from moves with the clock; what was due meanwhile is caught up like after any gap."""
    return _shifted(book, event.duration)


def _shifted(book: SchedulerState, step: int) -> Iterator[Command]:
    for run in list(book.runs.values()):
        if (shifted := run.shifted(step)) != run:
            book.runs[run.id] = shifted
            yield SaveRun(shifted)
    for state in map(book.__getitem__, (job.id for job in book.catalog)):
        if state.memory.outcomes:  # a dependency's success counts from when a run was held
            outcomes = tuple(known._replace(ended=known.ended + step) for known in state.memory.outcomes)
            state.memory = replace(state.memory, outcomes=outcomes)
            yield SaveJob(state.memory)


def booted(book: SchedulerState, boot: str, now: Now) -> Iterator[Command]:
    """The host was booted since the daemon last ran; this is known once and for all with the runs it makes."""
    for job in book.catalog:
        if job.at_boot and job.enabled:
            yield from _new(book, job, Occurrence(job.id, f"b{boot}", now.wall), HELD_FROM_OTHERS, now, Cause("boot"))
    yield SaveBoot(boot)


def asked(book: SchedulerState, event: events.RunAsked, now: Now) -> Iterator[Command]:
    """Somebody wants a job to run now."""
    job = book.catalog.get(event.job)
    if job is None:
        yield Reply(event.ticket, {"job": event.job}, "NoSuchJob")
        return
    cause = Cause("manual" if event.again is None else f"rerun of {event.again}", event.asked_by)
    made = list(_new(book, job, Occurrence(job.id, event.key, now.wall), HELD_FROM_OTHERS, now, cause))
    yield from made
    run = _made(made, event.key)
    if run.state is RunState.SKIPPED:
        yield Reply(event.ticket, {"reason": f"{run.id} was skipped: {run.reason}"}, "Refused")
    else:
        yield Reply(event.ticket, {"run": str(run.id)})


def emitted(book: SchedulerState, event: events.Emitted, now: Now) -> Iterator[Command]:
    """Something has happened that jobs wait for; the answer names their runs, skipped ones too."""
    runs = []
    for job in book.catalog.listeners("event", event.event):
        if job.enabled:
            occurrence = Occurrence(job.id, event.key, now.wall)
            made = list(
                _new(book, job, occurrence, HELD_FROM_OTHERS, now, Cause(f"event {event.event}", event.asked_by))
            )
            yield from made
            runs.append(str(_made(made, event.key).id))
    yield Say("emitted", {"name": event.event, "asked_by": event.asked_by, "runs": runs})
    yield Reply(event.ticket, {"runs": runs})


def appeared(book: SchedulerState, event: events.PathAppeared, now: Now) -> Iterator[Command]:
    """A file has appeared that jobs wait for; a run of theirs that has yet to start will find it too."""
    for job in book.catalog.listeners("path", event.path):
        state = book[job.id]
        if event.instant <= state.memory.appeared or not job.enabled:
            continue
        state.memory = replace(state.memory, appeared=max(event.instant, now.wall))
        yield SaveJob(state.memory)
        if not (state.due or state.waiting):
            cause = Cause(f"path {event.path}")
            yield from _new(book, job, Occurrence(job.id, event.key, now.wall), HELD_FROM_OTHERS, now, cause)


def _made(commands: list[Command], key: str) -> Run:
    """The run, or the skip, that became of an occurrence; a skip may be part of an earlier one."""
    saved = [command.run for command in commands if isinstance(command, SaveRun)]
    return next((run for run in saved if run.key == key), saved[-1])


def followed(book: SchedulerState, ended: Run, now: Now) -> Iterator[Command]:
    """A run has ended for good: what other jobs do about it."""
    result = "success" if ended.state is RunState.SUCCEEDED else "failure"
    for job in book.catalog.listeners("job", ended.id.job):
        if job.enabled and any(on.name == ended.id.job and on.result in (result, "any") for on in job.on):
            occurrence = Occurrence(job.id, f"j{ended.id}", now.wall)
            yield from _new(book, job, occurrence, HELD_FROM_OTHERS, now, Cause(f"end of {ended.id}"))
    for name in book.catalog.dependents(ended.id.job):
        job = book.catalog[name]
        if job.enabled and not job.triggers and (result == "success" or job.on_dependency_failure == "run"):
            is_due = dependencies.satisfy(book, ended.id.job, job)
            yield SaveJob(book[name].memory)
            if is_due:
                occurrence = Occurrence(name, f"d{ended.id}", now.wall)
                yield from _new(book, job, occurrence, HELD_FROM_OTHERS, now, Cause(f"end of {ended.id}"))


def _refusal(book: SchedulerState, job: Job, limit: int) -> str:
    """Why an occurrence of a job becomes no run; "" if nothing is against it."""
    state = book[job.id]
    if state.memory.paused:
        return "paused"
    if state.trouble:
        return f"invalid: {state.trouble}"
    if book.is_completed(job):
        return "max_runs"
    if job.overlap is Overlap.SKIP and state.under_way + len(state.due) >= job.concurrency:
        return "overlap"
    replaces = job.overlap is Overlap.REPLACE
    waiting = sum(book.runs[run].so_far is None for run in (*state.due, *state.waiting))
    if not replaces and waiting >= (limit if job.max_waiting is None else job.max_waiting):
        return "queue_full"
    return ""


def _new(
    book: SchedulerState, job: Job, occurrence: Occurrence, limit: int, now: Now, cause: Cause, previous: int = 0
) -> Iterator[Command]:
    """A run for the occurrence, or a skip with the reason; `previous`: the instant before it in the job's rhythm."""
    state = book[job.id]
    state.memory = replace(state.memory, satisfied=())
    if refusal := _refusal(book, job, limit):
        yield from skip(book, job, [occurrence], refusal, now, cause)
        return
    run = book.number(occurrence, now.wall, *cause)
    if job.overlap is Overlap.REPLACE:
        yield from _replaced(book, job, run, now)
    held = now.wall if cause == CLOCK and dependencies.hold_back(job) else 0
    run = replace(run, previous=previous, held=held)
    book.put_due(run)
    book.stir(job.id)
    watch_over(book, job, run, now)
    yield SaveRun(run)
    yield SaveJob(state.memory)
    if job.user is not None and book.users.get(job.user) != "":
        yield LookUp(job.user)


def _replaced(book: SchedulerState, job: Job, run: Run, now: Now) -> Iterator[Command]:
    """At its job's `concurrency` a new run takes the place of those that are not live, then of the oldest that are."""
    state, reason = book[job.id], f"replaced by {run.id}"
    going = sorted(live for live in state.live if book.runs[live].state is not RunState.STOPPING)
    pending = sorted([*state.due, *state.waiting, *state.later])
    beyond = len(going) + len(pending) + 1 - job.concurrency
    for older in pending[: max(0, beyond)]:
        yield from give_up(book, book.runs[older], reason, now, stopped=True)
    for live in going[: max(0, beyond - len(pending))]:
        yield from stop(book, book.runs[live], reason)
