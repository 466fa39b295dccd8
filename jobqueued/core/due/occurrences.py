"""Occurrences: a clock, a boot, an event, a file, another job or a user makes them due; each becomes a run or a
skip.
"""

from __future__ import annotations

from jobqueued.base.replace import changed
from jobqueued.child.contract.documents import Record, TriggeredBy
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.hosts.fleet_state import hosts_before, is_of_fleet
from jobqueued.core.records import spans
from jobqueued.core.runs import dependencies
from jobqueued.core.runs.completion import give_up, stop
from jobqueued.core.runs.eligibility import watch_over
from jobqueued.core.runs.skips import CLOCK, Cause, skip
from jobqueued.core.runs.validity import MANY
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.jobfile.types.spelling import nearest
from jobqueued.model import events
from jobqueued.model.commands import LookUp
from jobqueued.model.job import Job, Occurrence, Overlap, Scope
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState
from jobqueued.model.users import awaited_path, share_of

HELD_FROM_OTHERS = 100
"""Maximum unstarted runs of a job without `max_waiting`."""


def booted(turn: Turn, boot: str) -> None:
    """Trigger the jobs with `at_boot`, and save the boot ID so that they are due only once."""
    for job in turn.state.catalog:
        if job.at_boot and job.enabled:
            new(turn, job, Occurrence(job.id, f"b{boot}", turn.now.wall), Cause("boot"))
    turn.state.note_boot(boot)


def asked(turn: Turn, event: events.RunAsked) -> None:
    """Make a job due for a user. Refuse the request while the state can't be saved, because the run's number could be
    lost.
    """
    job = turn.state.catalog.get(event.job)
    if job is None:
        turn.refuse(event.ticket, "NoSuchJob", job=event.job)
        return
    if turn.state.unsaved:
        turn.refuse(event.ticket, "Refused", reason=turn.state.unsaved)
        return
    trigger = "manual" if event.again is None else f"rerun of {event.again}"
    cause = Cause(trigger, event.asked_by, event.triggered_by)
    occurrence, advice = Occurrence(job.id, event.key, turn.now.wall), ""
    if trouble := turn.state.invalid(job):
        run = skip(turn, job, [occurrence], Reason(Code.INVALID, why=trouble), cause)
        if _look_up(turn, job):
            advice = "; if you fixed this just now, try again: the daemon checks it again"
    else:
        run = new(turn, job, occurrence, cause)
    if run.state is RunState.SKIPPED:
        turn.refuse(event.ticket, "Refused", reason=f"{run.id} was skipped: {run.reason}{advice}")
    else:
        turn.reply(event.ticket, f"{run.id}, asked for by {event.asked_by}", run=str(run.id))


def submitted(turn: Turn, job: Job, asked_by: str | None) -> Run:
    """Make the next run of a submission due."""
    number = turn.state[job.id].saved.last_number + 1
    return new(turn, job, Occurrence(job.id, f"s{number}", turn.now.wall), Cause("submitted", asked_by))


def emitted(turn: Turn, event: events.Emitted) -> None:
    """Trigger the jobs that wait for an event; the reply lists the runs, including skipped ones."""
    if turn.state.unsaved:
        turn.refuse(event.ticket, "Refused", reason=turn.state.unsaved)
        return
    cause = Cause(f"event {event.event}", event.asked_by, {"event": event.event, **(event.triggered_by or {})})
    catalog = turn.state.catalog
    waiting = catalog.listeners("event", event.event)
    jobs = [job for job in waiting if job.enabled and not turn.state.fleet.lacks(job)]
    runs = [str(new(turn, job, Occurrence(job.id, event.key, turn.now.wall), cause).id) for job in jobs]
    turn.say("emitted", name=event.event, asked_by=event.asked_by, runs=runs)
    share = share_of(event.event)  # no user learns of another user's events
    known = [] if waiting else [name for name in catalog.awaited_names("event") if share_of(name) == share]
    near = nearest(event.event, known) if 0 < len(known) <= MANY else ""
    disabled = [job.id for job in waiting if not job.enabled]
    what = f"event {event.event}, emitted by {event.asked_by}"
    turn.reply(event.ticket, what, runs=runs, disabled=disabled, nearest=near or None)


def appeared(turn: Turn, event: events.PathAppeared) -> None:
    """Trigger the jobs that wait for a file that appeared, except jobs with an unstarted run, which will find the
    file.
    """
    state, wall = turn.state, turn.now.wall
    cause = Cause(f"path {awaited_path(event.path)}", None, {"path": event.file})
    for job in state.catalog.listeners("path", event.path):
        if event.instant <= state[job.id].saved.appeared or not job.enabled:
            continue
        state.remember(job.id, appeared=max(event.instant, wall))
        if not state[job.id].unstarted:
            new(turn, job, Occurrence(job.id, event.key, wall), cause)


def follow(turn: Turn, ended: Run, record: Record) -> None:
    """Trigger the jobs that react to the final end of a run with this record."""
    state, wall = turn.state, turn.now.wall
    result = "success" if ended.state is RunState.SUCCEEDED else "failure"
    hearing, dependents = _hearing(state, ended, result), state.catalog.dependents(ended.id.job)
    end = _end(ended, record)
    cause = Cause(f"end of {ended.id}", None, end)
    for job, pattern in hearing:
        by = cause if pattern is None else cause._replace(triggered_by={**end, "pattern": pattern})
        new(turn, job, Occurrence(job.id, f"j{ended.id}", wall), by)
    for job in map(state.catalog.__getitem__, dependents):
        counts = result == "success" or job.on_dependency_failure == "run"
        is_made_due = job.enabled and not job.triggers
        if is_made_due and (ends := dependencies.satisfy(turn, ended, job, counts=counts)):
            by = cause._replace(triggered_by={**end, "ends": list(map(str, ends))})
            new(turn, job, Occurrence(job.id, f"d{ends[0]}", wall), by)


def _hearing(state: SchedulerState, ended: Run, result: str) -> list[tuple[Job, str | None]]:
    """Return the jobs that react to the end of a run, each once, with the pattern that matched; None means that the
    ended job's ID matched.

    A pattern never matches a run that a pattern made due, directly or through other runs. This prevents endless chains.
    """
    names: list[tuple[str, str]] = [("job", ended.id.job)]
    if "pattern" not in (ended.triggered_by or {}):
        names += [("jobs", pattern) for pattern in state.catalog.patterns(ended.id.job)]
    found: dict[str, tuple[Job, str | None]] = {}
    for kind, name in names:
        for job in state.catalog.listeners(kind, name):
            hears = any(on[:2] == (kind, name) and on.result in (result, "any") for on in job.on)
            if hears and job.enabled and (kind == "job" or job.id != ended.id.job):
                found.setdefault(job.id, (job, name if kind == "jobs" else None))
    return list(found.values())


def _end(ended: Run, record: Record) -> TriggeredBy:
    """Return the end of a run in the form that the triggered runs receive."""
    end: TriggeredBy = {
        "run": str(ended.id),
        "state": ended.state.value,
        "exit_code": record.get("exit_code"),
        "signal": record.get("signal"),
    }
    if "pattern" in (by := ended.triggered_by or {}):
        end["pattern"] = by["pattern"]
    if "trace_id" in record:
        end["traceparent"] = spans.traceparent(record["trace_id"], record["span_id"])
    return end


def _counts(turn: Turn, run: Run) -> bool:
    """Return whether a run counts towards its job's limits.

    A run does not count if another host may take its occurrence, or if the run only records a loss.
    """
    return not hosts_before(run.key) and (run.state is not RunState.DUE or run.not_before <= turn.now.wall)


def refusal(turn: Turn, job: Job, limit: int) -> Reason | None:
    """Return why a new occurrence of a job must be skipped, or None if it may become a run."""
    state = turn.state[job.id]
    if state.saved.paused:
        return Reason(Code.PAUSED)
    if state.invalid is not None:
        return Reason(Code.INVALID, why=state.invalid.text)
    if turn.state.is_completed(job):
        return Reason(Code.MAX_RUNS)
    waiting = [run for run in map(turn.state.runs.__getitem__, (*state.due, *state.waiting)) if _counts(turn, run)]
    due = sum(run.state is RunState.DUE for run in waiting)
    if job.overlap is Overlap.SKIP and state.under_way + due >= job.concurrency:
        return Reason(Code.OVERLAP)
    unstarted = sum(run.so_far is None for run in waiting)
    if job.overlap is not Overlap.REPLACE and unstarted >= (limit if job.max_waiting is None else job.max_waiting):
        return Reason(Code.QUEUE_FULL)
    return None


def new(
    turn: Turn, job: Job, occurrence: Occurrence, cause: Cause, limit: int = HELD_FROM_OTHERS, previous: int = 0
) -> Run:
    """Turn an occurrence into a run, or into a skip if the job takes no more runs.

    `previous`: the job's scheduled due time before this one, or 0.
    """
    state = turn.state
    if state[job.id].saved.satisfied and job.submission is None:
        state.remember(job.id, satisfied=(), ends=())
    if (known := state.found.get(job.id, {}).get(occurrence.key) or _again(state, occurrence)) is not None:
        return known
    if reason := refusal(turn, job, limit):
        return skip(turn, job, [occurrence], reason, cause)
    held = turn.now.wall if cause == CLOCK and dependencies.hold_back(job) else 0
    run = state.number(occurrence, turn.now.wall, previous=previous, held=held, **cause._asdict())
    if job.scope is Scope.FLEET and cause == CLOCK:
        run = leave_to_others(state, job, run, turn.now.wall)
    if job.overlap is Overlap.REPLACE:
        _replace_older(turn, job, run)
    state.put_due(run)
    state.mark_for_check(job.id)
    watch_over(turn, job, run)
    _look_up(turn, job)
    return run


def leave_to_others(state: SchedulerState, job: Job, run: Run, wall: int) -> Run:
    """Leave a run to other hosts until this host's turn, but for at most half of the time until the run is too late."""
    following = state.due_times.next(job.id)
    by = None if job.start_deadline is None else run.due + job.offset + job.start_deadline
    left = min((max(0, end - wall) // 2 for end in (following, by) if end is not None), default=None)
    wait = state.fleet.turn_of(state.limits.name, job, run.key, left)
    return changed(run, not_before=wall + wait) if wait else run


def _again(state: SchedulerState, occurrence: Occurrence) -> Run | None:
    """Return the run of a fleet occurrence that a job's clock reaches a second time after a step back; None if no such
    run exists.
    """
    return run_of(state, occurrence.job, occurrence.key) if is_of_fleet(occurrence.key) else None


def run_of(state: SchedulerState, job: str, key: str) -> Run | None:
    """Return the unfinished run of an occurrence, or None if no such run exists."""
    runs = map(state.runs.__getitem__, state.peek(job).unfinished)
    return next((run for run in runs if run.key == key), None)


def _look_up(turn: Turn, job: Job) -> bool:
    """Look up a job's accounts that may be missing; return False if all its accounts have been found."""
    unknown = list(turn.state.accounts_to_look_up(job))
    for account in unknown:
        turn.do(LookUp(account))
    return bool(unknown)


def _replace_older(turn: Turn, job: Job, run: Run) -> None:
    """Make room for a new run of a job whose `concurrency` is reached: give up pending runs, then stop the oldest live
    runs.
    """
    state, reason = turn.state, Reason(Code.REPLACED, run=str(run.id))
    pending = state[job.id].pending
    going = sorted(live for live in state[job.id].live if state.runs[live].state is not RunState.STOPPING)
    beyond = len(going) + len(pending) + 1 - job.concurrency
    for older in pending[: max(0, beyond)]:
        give_up(turn, state.runs[older], reason, stopped=True)
    for live in going[: max(0, beyond - len(pending))]:
        stop(turn, state.runs[live], reason)
