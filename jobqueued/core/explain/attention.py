"""Attention: the jobs and runs that a user should look at, and since when."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from jobqueued.base.instants import to_text
from jobqueued.base.text import settled_times
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.due.set_back import waits_until
from jobqueued.core.late import expectation, lateness
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.model.job import Job, Now
from jobqueued.model.run import RunId


class Attention(NamedTuple):
    """A job or a late run that needs attention.  `kind` is one of ATTENTION; instants are wall times (ns).

    `run`: the late run, or the last failed run. `reason`: why the job is invalid, failing, late or overdue, or why it
    does not start on this host. `until`: the end of a pause, or the last fixed time that was handled before the clock
    was set back.
    """

    kind: str
    job: str
    run: RunId | None = None
    since: int | None = None
    until: int | None = None
    reason: str | None = None


def of(state: SchedulerState, now: Now) -> Iterator[Attention]:
    """Yield everything that needs attention, grouped by kind and sorted by job. A job that is disabled or in no file
    does not count as failing.
    """
    names = sorted(state.noted)
    noted = [job for name in names if (job := state.catalog.get(name)) is not None]
    for job in _invalid(state):
        yield Attention("invalid", job.id, reason=state.invalid(job))
    for job in noted:
        stats = state[job.id].saved.stats
        if stats.fails_since is not None and job.enabled:
            last = None if stats.failing_run is None else RunId(job.id, stats.failing_run)
            yield Attention("failing", job.id, last, stats.fails_since, reason=stats.failing_reason)
    for job in noted:
        if (since := _missed(state, job)) is not None:
            yield Attention("missed", job.id, since=since)
    for name in names:
        for run in (state.runs[RunId(name, number)] for number in state[name].saved.late):
            since = lateness.begun(run) or run.queued
            yield Attention("late", name, run.id, since, reason=lateness.words(state, run, now))
    for name in names:
        if (since := state[name].saved.overdue_since) is not None:
            yield Attention("overdue", name, since=since, reason=expectation.obstacle(state, name, now))
    for job in _outdated(state):
        yield Attention("outdated", job.id, reason=state.fleet.rest_of(job))
    yield from _waiting(state, noted, now)


def _waiting(state: SchedulerState, noted: list[Job], now: Now) -> Iterator[Attention]:
    """Yield the jobs that wait as intended: paused jobs, and jobs whose clock was set back."""
    for job in noted:
        saved = state[job.id].saved
        if saved.paused:
            yield Attention("paused", job.id, until=saved.paused_until)
    for job in noted:
        if (until := waits_until(state[job.id].saved, job, now.wall)) is not None:
            yield Attention("set_back", job.id, until=until, reason=settled_times(to_text(until)))


def is_over(job: Job, following: int | None, *, had_some: bool) -> bool:
    """Return whether a job's last due time has passed: only the clock makes the job due, it had a due time
    (`had_some`), and none follows.
    """
    return bool(job.triggers) and had_some and following is None and not (job.at_boot or job.on)


def _missed(state: SchedulerState, job: Job) -> int | None:
    """Return the last due time of a job that never started a run and will not be due again, or None for any other
    job.
    """
    it = state[job.id]
    over = is_over(job, state.due_times.next(job.id), had_some=bool(it.saved.stats.skipped))
    if it.saved.stats.started or it.unfinished or it.saved.paused or not (over and job.enabled) or state.invalid(job):
        return None
    return None if it.skip is None else it.skip.last_due or it.skip.due


def _outdated(state: SchedulerState) -> list[Job]:
    """Return the jobs that would run on this host if the fleet had no newer definition of them."""
    found = map(state.catalog.get, sorted(state.fleet.outdated))
    return [job for job in found if job is not None and job.enabled and state.fleet.is_outdated(job)]


def _invalid(state: SchedulerState) -> list[Job]:
    found = (job for name in state.invalid_jobs if (job := state.catalog.get(name)) is not None)
    bad = (account for account, trouble in state.accounts.items() if trouble)
    of_accounts = chain.from_iterable(map(state.catalog.of_account, bad))
    return sorted({job.id: job for job in chain(found, of_accounts)}.values(), key=lambda job: job.id)
