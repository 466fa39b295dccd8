"""Changes of jobs by files and users: adding, editing or removing jobs, and skipping their next start.

Nothing here starts or stops an attempt. Pending runs of a removed job are given up: a run that
had an attempt ends, another is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.base.instants import SECOND, to_text
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.due import clock, occurrences
from jobqueued.core.due.clock import skip_dues
from jobqueued.core.due.redefinition import CHANGED, put_off, redefine
from jobqueued.core.jobs import agreement, pauses
from jobqueued.core.late import expectation, lateness
from jobqueued.core.runs import dependencies, host_hold, validity
from jobqueued.core.runs.completion import give_up
from jobqueued.core.runs.eligibility import give_up_all, look_at_run, rate_allows_at, watch_over
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model import events
from jobqueued.model.accounts import Account, accounts
from jobqueued.model.commands import ForgetJob, LookAfter, LookUp, SavePast
from jobqueued.model.job import Job, Scope
from jobqueued.model.run import Run
from jobqueued.model.run_states import PENDING, RunState
from jobqueued.model.saved import Past, Skip
from jobqueued.queue import rates


def read(turn: Turn, event: events.JobsRead) -> None:
    """Replace the jobs of a file; due times before now belong to the old definitions."""
    state = turn.state
    before = {job.id: job for job in state.catalog.of_file(event.file)}
    before |= {job.id: old for job in event.jobs if (old := state.catalog.get(job.id)) is not None}
    if taken := [job.id for job in event.jobs if job.id in state.submitted]:
        event = _without(turn, event, taken)
    coming = {job.id: job for job in event.jobs}
    for job in before.values():
        if not _goes_on(job, coming.get(job.id)):
            clock.catch_clock(turn, job)
    change = state.catalog.replace_file(event.file, event.jobs)
    for job in change.removed:
        _removed(turn, job)
    for job in (*change.added, *change.edited):
        _note_standing(turn, job, before.get(job.id))
        defined(turn, job, before.get(job.id))
    state.agenda.judge(validity.to_be_judged(state, change))
    _look_up(turn, event.jobs)
    counts = {name: len(jobs) for name, jobs in change._asdict().items() if jobs}
    if counts:
        at_start = {} if state.loaded else {"at_start": True}
        turn.say("jobs_read", file=event.place or event.file, **counts, **at_start)


def _goes_on(old: Job, new: Job | None) -> bool:
    """Return whether a fleet job's clock and its open questions to the fleet continue with a new definition."""
    is_alike = new is not None and (new.rhythm, new.enabled, new.scope) == (old.rhythm, old.enabled, old.scope)
    return is_alike and old.scope is Scope.FLEET


def _note_standing(turn: Turn, job: Job, old: Job | None) -> None:
    """Save that a job was added, enabled or disabled; do nothing while the daemon loads all jobs at its start."""
    before = "gone" if old is None else _presence(old)
    if turn.state.loaded and before != _presence(job):
        turn.do(SavePast(Past(turn.now.wall, job.id, _presence(job), before)))


def _presence(job: Job) -> str:
    return "enabled" if job.enabled else "disabled"


def _without(turn: Turn, event: events.JobsRead, taken: list[str]) -> events.JobsRead:
    """Return the event without the jobs that have the name of a submission; log these jobs as invalid."""
    for job in event.jobs:
        if job.id in taken:
            reason = "a submission uses this name; save the file again after the submission ends"
            turn.say("job_invalid", job=job.id, reason=reason, file=job.file, line=job.line)
    return event._replace(jobs=tuple(job for job in event.jobs if job.id not in taken))


def loaded(turn: Turn, event: events.JobsLoaded) -> None:
    """Complete the start after all files were read: give up pending runs whose job no longer exists."""
    state = turn.state
    state.loaded = True
    state.complete = state.complete or event.complete
    state.agenda.judge(None)
    for name in state.found:
        clock.cover(turn, name)
    if event.complete:
        for run in list(state.runs.values()):
            if run.state in PENDING and run.id.job not in state.catalog:
                give_up(turn, run, Reason(Code.JOB_REMOVED_WHILE_DOWN))
    if event.boot is not None:
        host_hold.booted(turn, event.boot)
        occurrences.booted(turn, event.boot)


def history_gone(turn: Turn, event: events.HistoryGone) -> None:
    """Forget a deleted job without history, unless the job is paused, expected to succeed, or a dependency."""
    state, name = turn.state, event.job
    known = state.jobs.get(name)
    if known is None or name in state.catalog or known.unfinished or not state.complete:
        return
    if not (known.saved.paused or known.saved.expected or state.catalog.dependents(name)):
        state.changes.note_submission(ForgetJob(name))
        state.forget_job(name)


def reloaded(turn: Turn) -> None:
    """Look up all jobs' accounts once more, after a reload or a change of the host's account files."""
    _look_up(turn, turn.state.catalog)


def account_known(turn: Turn, event: events.AccountKnown) -> None:
    """Record whether a user or group exists. If the account is missing, make its jobs invalid and give up their pending
    runs.
    """
    state = turn.state
    before, state.accounts[event.account] = state.accounts.get(event.account), event.trouble
    is_news = event.trouble != before
    for job in state.catalog.of_account(event.account) if is_news else _that_wait(state, event.account):
        if event.trouble:
            give_up_all(turn, job, Reason(Code.INVALID, why=event.trouble))
        state.mark_for_check(job.id)
        if event.trouble and not before:
            validity.say_invalid(turn, job, event.trouble)
        elif before and not state.invalid(job):
            turn.say("job_valid", job=job.id)


def _that_wait(state: SchedulerState, account: Account) -> list[Job]:
    """Return the jobs of an account that have due runs, sorted by ID.

    The search goes through the runs, because a user may have 100,000 jobs without due runs.
    """
    found = {run.id.job for run in state.runs.values() if run.state is RunState.DUE}
    jobs = (state.catalog.get(name) for name in sorted(found))
    return [job for job in jobs if job is not None and account in accounts(job)]


def skip_asked(turn: Turn, event: events.SkipAsked) -> None:
    """Skip the next scheduled occurrence of a job. A repeated request skips one more occurrence; `undo` cancels the
    last request.
    """
    state = turn.state
    job = state.catalog.get(event.job)
    if job is None:
        turn.refuse(event.ticket, "NoSuchJob", job=event.job)
        return
    clock.catch_clock(turn, job)
    if event.undo:
        _undo_skip(turn, job, event)
        return
    saved = state[job.id].saved
    due = saved.next_due(job, saved.cursor)
    while due in saved.skipped:
        due = saved.next_due(job, due)
    if due is None or state.due_times.next(job.id) is None:
        turn.refuse(event.ticket, "Refused", reason=f"{job.id} has no scheduled start")
        return
    state.remember(job.id, skips=(*saved.skips, Skip(due, event.asked_by)))
    turn.say("skips_next", job=job.id, asked_by=event.asked_by, due=due + job.offset)
    _tell_skip(turn, job, event.ticket, due, f"the skip of {job.id} by {event.asked_by}")


def _undo_skip(turn: Turn, job: Job, event: events.SkipAsked) -> None:
    skips = turn.state[job.id].saved.skips
    if not skips:
        turn.refuse(event.ticket, "Refused", reason=f"no skip of {job.id} to undo")
        return
    *others, last = skips
    turn.state.remember(job.id, skips=tuple(others))
    turn.say("skips_not", job=job.id, asked_by=event.asked_by, due=last.due + job.offset)
    _tell_skip(turn, job, event.ticket, last.due, f"the undone skip of {job.id} by {event.asked_by}")


def _tell_skip(turn: Turn, job: Job, ticket: int, due: int, what: str) -> None:
    """Reply with the start that is skipped (or, after `undo`, no longer skipped) and the next start."""
    starts = list(map(to_text, turn.state[job.id].saved.starts(job, 1)))
    first = starts[0] if starts else None
    turn.reply(ticket, what, due=to_text(due + job.offset), next=first, timezone=job.timezone)


def defined(turn: Turn, job: Job, old: Job | None) -> None:
    """Handle a new definition of a job; `old` is the previous definition, or None for the first definition since the
    daemon started.
    """
    state, wall = turn.state, turn.now.wall
    if state[job.id].saved.owner != job.owner:
        state.hand_over(job.id, job.owner)
    state.define(job)
    saved = state[job.id].saved
    found = redefine(saved, old, job, wall, completed=state.is_completed(job))
    if old is not None:
        skip_dues(turn, old, found.forgone, Reason(Code.EDITED))
    if found.saved != saved:
        state.remember(job.id, **{name: getattr(found.saved, name) for name in CHANGED})
    if found.ahead:
        turn.say("clock_was_ahead", job=job.id, seconds=found.ahead / SECOND)
    if found.past is not None:
        skip_dues(turn, job, [found.past], Reason(Code.PAST))
    agreement.defined(turn, job)
    if not state.fleet.down:
        pauses.take_over(turn, job)
    state.set_clock(job)
    expectation.defined(turn, job)
    _take_up(turn, job)


def _take_up(turn: Turn, job: Job) -> None:
    """Apply the new definition to the job's unfinished runs."""
    state, now = turn.state, turn.now
    job_state = state[job.id]
    beyond = max(0, job_state.under_way - job.concurrency)
    if job.rate is not None:
        state.remember(job.id, rate_use=rates.bounded(job.rate, job_state.saved.rate_use, now.wall))
    is_above_rate = rate_allows_at(state, job, now, more=0) > now.wall
    for place, run in enumerate(sorted(job_state.waiting, reverse=True)):
        is_new = state.runs[run].so_far is None
        if place < beyond or (is_new and is_above_rate) or _is_newly_held(job, state.runs[run]):
            state.put_back(state.runs[run], now)
        else:
            state.enqueue(state.runs[run], now)
    for known in [state.runs[due] for due in job_state.due]:
        if _is_newly_held(job, known):
            state.change(known, held=now.wall)
    for run in job_state.pending:
        watch_over(turn, job, state.runs[run])
    for run in job_state.live:
        lateness.watch(turn, state.runs[run])
    for run in sorted(job_state.delayed):
        look_at_run(turn, run)
    if job_state.saved.paused_until is not None:
        state.timers.at(job_state.saved.paused_until, job.id)
    state.mark_for_check(job.id)


def _is_newly_held(job: Job, run: Run) -> bool:
    """Return whether new dependencies hold back a run that was created without dependencies."""
    return dependencies.hold_back(job) and not run.held and run.so_far is None and run.trigger == "schedule"


def _removed(turn: Turn, job: Job) -> None:
    state = turn.state
    turn.do(SavePast(Past(turn.now.wall, job.id, "gone", _presence(job))))
    forgone = put_off(job, state[job.id].saved, turn.now.wall)
    if forgone:
        state.remember(job.id, cursor=forgone[-1])
        skip_dues(turn, job, forgone, Reason(Code.JOB_REMOVED_WHILE_SPREAD))
    state.due_times.clear(job.id)
    state.fleet.specs.pop(job.id, None)
    state.fleet.outdated.discard(job.id)
    state.fleet.elsewhere.drop(job.id)
    state.fleet.verdicts.pop(job.id, None)
    state.remember(job.id, rhythm="", satisfied=(), ends=())
    state[job.id].invalid = None
    state.invalid_jobs.discard(job.id)
    state.mark_for_check(job.id)
    give_up_all(turn, job, Reason(Code.JOB_REMOVED_WHILE_WAITING))
    expectation.removed(turn, job)
    if not state[job.id].saved.last_number:  # jobs that had runs are checked each day
        turn.do(LookAfter(job.id))


def _look_up(turn: Turn, jobs: Iterable[Job]) -> None:
    for account in dict.fromkeys(account for job in jobs for account in accounts(job)):
        turn.do(LookUp(account))
