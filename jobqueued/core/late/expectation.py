"""Expectations: people are notified once if a job has not succeeded for longer than its `expect`, whatever the reason.

This includes a job that is paused, invalid, or removed from its file. An expectation ends if a user forgets a removed
job (`forget`), or if `expect` is removed from the file or the job is disabled there.  For a fleet job, one host
notifies people.
"""

from __future__ import annotations

from jobqueued.base.instants import SECOND
from jobqueued.base.text import duration, printable
from jobqueued.core.late import fleet_overdue
from jobqueued.core.records import recollection
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.catalog import written_in
from jobqueued.model.events import ForgetAsked
from jobqueued.model.job import Job, Now, Scope
from jobqueued.model.notify import Notify
from jobqueued.model.run_states import LIVE
from jobqueued.model.saved import Expected, SavedJob


def defined(turn: Turn, job: Job) -> None:
    """Handle the `expect` of a job's new definition; an existing expectation continues with the new period."""
    known, wall = turn.state[job.id].saved.expected, turn.now.wall
    if job.expect is None or not job.enabled:
        end(turn, job.id, "its file no longer has `expect`")
        return
    wishes = {"notify": job.notify.plain(), "tags": list(job.tags), "user": job.user, "scope": job.scope.value}
    expected = Expected(job.expect, wall, wishes) if known is None else known._replace(within=job.expect, wishes=wishes)
    is_in_time = expected.since + expected.within > wall
    _put(turn, job.id, expected._replace(told=0) if is_in_time else expected, "its file gives it more time")


def removed(turn: Turn, job: Job) -> None:
    """Log that a job is still expected to succeed although no file defines it."""
    expected = turn.state[job.id].saved.expected
    if expected is not None:
        turn.say("still_expected", job=job.id, within=expected.within)


def succeeded(turn: Turn, name: str, ended: int, run: str) -> None:
    """Restart a job's period at the end of a successful run."""
    _put(turn, name, recollection.succeeded(turn.state[name].saved.expected, ended), f"{run} has succeeded")


def succeeded_elsewhere(turn: Turn, name: str, ended: int) -> None:
    """Record that a job succeeded on another host at `ended` or later; ignore a success that is too old to matter."""
    expected = turn.state.peek(name).saved.expected
    if expected is not None and expected.since < ended and turn.now.wall < ended + expected.within:
        succeeded(turn, name, ended, "a run of another host")


def forget_asked(turn: Turn, event: ForgetAsked) -> None:
    """At a user's request, end the expectation of a job that is in no file."""
    job = turn.state.catalog.get(event.job)
    is_expected = turn.state.peek(event.job).saved.expected is not None
    if job is not None:
        to_end = "to stop expecting it, remove `expect` there"
        so = to_end if is_expected else "it has no `expect`"
        turn.refuse(event.ticket, "Refused", reason=f"{event.job} is in {written_in(job)}; {so}")
    elif not is_expected:
        turn.refuse(event.ticket, "NoSuchJob", job=event.job)
    else:
        end(turn, event.job, f"forgotten by {event.asked_by}")
        turn.reply(event.ticket, f"the order of {event.asked_by} to forget {event.job}")


def end(turn: Turn, name: str, why: str) -> None:
    """End the expectation of a job."""
    if turn.state[name].saved.expected is not None:
        _put(turn, name, None, why)


def look(turn: Turn, limit: int) -> None:
    """Report at most `limit` of the jobs that are overdue now."""
    state, wall = turn.state, turn.now.wall
    for name in state.lateness.jobs.take(wall, limit):
        expected = state[name].saved.expected
        if expected is None:
            continue
        job = state.catalog.get(name) or _kept_of(name, expected)
        if (teller := fleet_overdue.teller(turn, job, expected)) is not None:
            state.remember(name, expected=expected._replace(told=wall))
            reason = obstacle(state, name, turn.now)
            other = {} if teller == state.limits.name else {"teller": printable(teller)}
            turn.say("overdue", job=name, within=expected.within, since=expected.since, reason=reason, **other)


def shift(turn: Turn, step: int) -> None:
    """Shift all expectations by a step of the clock, because no time passed during the step."""
    for name in {*turn.state.lateness.jobs, *turn.state.noted}:
        if (expected := turn.state[name].saved.expected) is not None:
            _put(turn, name, expected._replace(since=expected.since + step), "")


def await_success(state: SchedulerState, saved: SavedJob) -> None:
    """Set the deadline of a job that is expected to succeed, unless it was already reported as overdue."""
    if saved.expected is not None and not saved.expected.told:
        state.lateness.jobs.set(saved.job, saved.expected.since + saved.expected.within)


def _put(turn: Turn, name: str, expected: Expected | None, why: str) -> None:
    state = turn.state
    saved = state[name].saved
    known = saved.expected
    if expected != known:
        was_overdue = saved.is_overdue
        saved = state.remember(name, expected=expected)
        if was_overdue and not saved.is_overdue:
            turn.say("overdue_over", job=name, reason=why)
            fleet_overdue.over(turn, name)
    if expected is None or known is None or expected._replace(wishes={}) != known._replace(wishes={}):
        state.fleet.unheard.pop(name, None)
        state.lateness.jobs.clear(name)
        await_success(state, saved)


def wishes_of(state: SchedulerState, name: str) -> Job | None:
    """Return the saved state of a job that is in no file, or None if the job is not expected to succeed."""
    expected = state[name].saved.expected if name in state.noted else None
    return None if expected is None else _kept_of(name, expected)


def _kept_of(name: str, expected: Expected) -> Job:
    """Return the part of a job that is saved in case the job is removed from its file."""
    wishes = expected.wishes
    return Job(
        id=name,
        command="",
        notify=Notify.of(wishes["notify"]),
        tags=tuple(wishes["tags"]),
        user=wishes["user"],
        scope=Scope(wishes.get("scope", Scope.HOST)),
    )


def is_of_fleet(state: SchedulerState, name: str) -> bool:
    """Return whether a job belongs to the fleet, or did before it was removed from its file."""
    job, expected = state.catalog.get(name), state.peek(name).saved.expected
    if job is None and expected is not None:
        job = _kept_of(name, expected)
    return job is not None and job.scope is Scope.FLEET


def obstacle(state: SchedulerState, name: str, now: Now) -> str:
    """Return the reason why a job does not succeed, and the remedy."""
    job, it = state.catalog.get(name), state[name]
    if job is None:
        return f"it is in no job file; if it was removed on purpose: jobqueuectl forget {name}"
    if invalid := state.invalid(job):
        return f"it is invalid: {invalid}"
    if it.saved.paused:
        left = it.saved.paused_until and it.saved.paused_until - now.wall
        for_so_long = f" for {duration(max(0, left) / SECOND)} more" if left else ""
        return f"it is paused{for_so_long}; to resume: jobqueuectl resume {name}"
    if unfinished := sorted(it.unfinished):
        run = unfinished[0]
        return f"{run} {'has not ended' if state.runs[run].state in LIVE else f'waits; see: jobqueuectl why {run}'}"
    stats = it.saved.stats
    if stats.failing_run is not None:
        return f"its last run failed: {stats.failing_reason}; see: jobqueuectl show {name}@{stats.failing_run}"
    if state.is_completed(job):
        return f"its max_runs ({job.max_runs}) are used up"
    if it.skip is not None:
        return f"its last run was skipped: {it.skip.reason}"
    return "no run of it has ended since"
