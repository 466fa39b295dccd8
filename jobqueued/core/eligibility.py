"""The gate before the queue: what holds back a run that is due, and what lets it through, or gives it up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from jobqueued.commands import Command, SaveHold, SaveJob, SaveRun, Say
from jobqueued.core import dependencies
from jobqueued.core.completion import give_up
from jobqueued.core.lifecycle import Step
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.model import PENDING, Job, Now, Run, RunId, RunState
from jobqueued.saved import Hold

DEADLINE = "start_deadline"
IMPOSSIBLE = "impossible"
"""How the trouble begins of a job whose runs can never be admitted; what else is wrong only keeps new ones away."""
UNTIL = "its --until"
HOLD, PRESSURE = ":hold", ":pressure"
"""What the timers of the host's hold and of pressure on it are called."""


def promote(book: SchedulerState, name: str, now: Now) -> Iterator[Command]:
    """Runs of a job that nothing holds back any more join the queue; those that never can are given up."""
    job, state = book.catalog.get(name), book[name]
    if job is None:
        return
    if state.trouble.startswith(IMPOSSIBLE):
        yield from empty(book, job, f"invalid: {state.trouble}", now)
    if book.is_completed(job):
        yield from complete(book, job, now)
    if book.holds(job):
        return
    for run in [book.runs[found] for found in state.due]:
        if state.under_way >= job.concurrency:
            return
        if run.so_far is None and book.is_used_up(job):
            continue  # until it is known whether the last of `max_runs` has started
        word, reason = dependencies.verdict(book, job, run, now)
        if word is dependencies.MET:
            yield SaveRun(book.enqueue(book.step(run, Step.QUEUE), now))
        elif word is dependencies.FAILED:
            yield from give_up(book, run, reason, now)


def empty(book: SchedulerState, job: Job, reason: str, now: Now) -> Iterator[Command]:
    """Nothing of a job that is not live goes on."""
    state = book[job.id]
    for run in sorted([*state.due, *state.waiting, *state.later]):
        yield from give_up(book, book.runs[run], reason, now, job=job)


def complete(book: SchedulerState, job: Job, now: Now) -> Iterator[Command]:
    """The last of a job's `max_runs` has started: nothing more is due."""
    state = book[job.id]
    book.clock.clear(job.id)
    if state.memory.rhythm:
        state.memory = replace(state.memory, rhythm="")
        yield SaveJob(state.memory)
    for run in [book.runs[found] for found in sorted([*state.due, *state.waiting])]:
        if run.so_far is None:
            yield from give_up(book, run, "max_runs", now)


def watch_over(book: SchedulerState, job: Job, run: Run, now: Now) -> None:
    """Look at a run that has not started when its time is up."""
    book.timers.forget(book.runs)
    if run.so_far is None and job.start_deadline is not None:
        book.timers.at(planned(book, run) + job.start_deadline, run.id)
    if run.held:
        book.timers.after(now.mono + max(0, run.held + job.dependency_timeout - now.wall), run.id)


def planned(book: SchedulerState, run: Run) -> int:
    """When (wall) it should start: for the clock's runs `spread` comes on top."""
    job = book.catalog.get(run.id.job)
    return run.due + (job.offset if job is not None and run.trigger == "schedule" else 0)


def look(book: SchedulerState, whom: str | RunId, now: Now) -> Iterator[Command]:
    """A timer has fired for a run, or for a job."""
    if isinstance(whom, RunId):
        if whom in book.runs:
            yield from _look_at_run(book, book.runs[whom], now)
    elif whom == PRESSURE:
        book.blocked = False
    elif whom == HOLD:
        if book.hold is not None and not book.hold.lasts(now.wall):
            yield from hold_over(book, UNTIL, now)
    else:
        memory = book[whom].memory
        if memory.paused and memory.paused_until is not None and memory.paused_until <= now.wall:
            yield from resumed(book, whom, UNTIL)


def _look_at_run(book: SchedulerState, run: Run, now: Now) -> Iterator[Command]:
    job, state = book.catalog.get(run.id.job), book[run.id.job]
    if job is None or run.state not in PENDING:
        return
    if run.so_far is None and job.start_deadline is not None and planned(book, run) + job.start_deadline <= now.wall:
        yield from give_up(book, run, DEADLINE, now)
    elif run.id in state.later:
        if state.later[run.id] <= now.mono:
            yield from _go_on(book, job, run, now)
    else:
        book.stir(run.id.job)


def _go_on(book: SchedulerState, job: Job, run: Run, now: Now) -> Iterator[Command]:
    """The pause of a run is over: it ages from now on, or is held if its job is."""
    state = book[job.id]
    if run.state is RunState.RETRYING and run.attempt > job.retries + 1 and job.failover is not None:
        run = book.runs[run.id] = replace(run, failover=True)
    if gone := _gone(job, run):
        yield from give_up(book, run, gone, now)
        return
    if state.trouble.startswith(IMPOSSIBLE):
        yield from give_up(book, run, f"invalid: {state.trouble}", now)
        return
    if book.holds(job) or len(state.waiting) + len(state.live) >= job.concurrency:
        yield SaveRun(book.put_back(run, now))
        return
    if run.state is RunState.RETRYING:
        run = book.step(run, Step.QUEUE)
    yield SaveRun(book.enqueue(run, now))


def _gone(job: Job, run: Run) -> str:
    """What a further attempt was to be, of which the job knows nothing any more; "" if it does."""
    if run.failover:
        return "" if job.failover is not None else "its job has no failover any more"
    return "its job has fewer retries by now" if run.attempt > job.retries + 1 else ""


def resumed(book: SchedulerState, name: str, asked_by: str) -> Iterator[Command]:
    """A paused job goes on."""
    state = book[name]
    state.memory = replace(state.memory, paused=False, paused_until=None)
    book.stir(name)
    yield SaveJob(state.memory)
    yield Say("job_resumed", {"job": name, "asked_by": asked_by})


def hold(book: SchedulerState, hold: Hold) -> Iterator[Command]:
    """Nothing new starts on this host from now on."""
    book.hold = hold
    if hold.until is not None:
        book.timers.at(hold.until, HOLD)
    yield SaveHold(hold)
    yield Say("held", {"asked_by": hold.asked_by, "until": hold.until})


def hold_over(book: SchedulerState, why: str, now: Now) -> Iterator[Command]:
    """A hold has ended by itself; one that was there before it goes on."""
    below = None if book.hold is None else book.hold.below
    if below is not None and below.lasts(now.wall):
        yield from hold(book, below)
    else:
        yield from released(book, why)


def released(book: SchedulerState, asked_by: str) -> Iterator[Command]:
    """New runs start again on this host."""
    book.hold = None
    book.blocked = False
    yield SaveHold(None)
    yield Say("released", {"asked_by": asked_by})
