"""Occurrences: what the clock, a boot, an event, another job or a person makes due becomes a run, or a skip."""

from __future__ import annotations

from functools import partial

from jobqueued import events
from jobqueued.commands import LookUp
from jobqueued.copies import changed
from jobqueued.core import dependencies, expectation, spans
from jobqueued.core.completion import give_up, stop
from jobqueued.core.dependencies import Standing
from jobqueued.core.eligibility import resume, watch_over
from jobqueued.core.fleet_state import hosts_before, is_of_fleet
from jobqueued.core.host_hold import UNTIL
from jobqueued.core.recollection import REPLACED_BY
from jobqueued.core.redefinition import STEP_LIMIT, dues
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.core.skips import CLOCK, Cause, skip
from jobqueued.core.turn import Turn
from jobqueued.core.validity import MANY
from jobqueued.jobfile.spelling import nearest
from jobqueued.model import MINUTE, SECOND, CatchUp, Job, Occurrence, Overlap, Record, Run, RunState, Scope, TriggeredBy
from jobqueued.timing import catch_up
from jobqueued.users import awaited_path, share_of

JOBS_A_TURN = 64
HELD_FROM_CLOCK, HELD_FROM_OTHERS = 1, 100
"""How many runs of a job may be due or in the queue, where it has no `max_waiting`."""
FUSE, NEW = 100, 10 * SECOND
"""So many occurrences a minute, not older than that, a job may get from the clock; more are a defect."""


def woke(turn: Turn) -> None:
    """Take whatever the clock has made due by now."""
    for name in turn.state.due_times.take(turn.now.wall, JOBS_A_TURN):
        _come_due(turn, turn.state.catalog[name])


def catch_clock(turn: Turn, job: Job) -> None:
    """Take all that the clock has made due of one job by now: before anything about it changes."""
    while (start := turn.state.due_times.next(job.id)) is not None and start <= turn.now.wall:
        _come_due(turn, job)


def skip_dues(turn: Turn, job: Job, dues: list[int], reason: str) -> None:
    """Skip due times of a job's clock, if there are any."""
    if dues:
        named = partial(job.occurrence, turn.state[job.id].saved.era)
        skip(turn, job, list(map(named, dues)), reason)


def cover(turn: Turn, job: str) -> None:
    """Move the clock of a job past the occurrences that were found; what was due beside them is due anew.

    What is due between now and one that was found was covered before the clock was set back, and that was not saved.
    """
    state = turn.state
    if job in state.catalog:
        catch_clock(turn, state.catalog[job])
    saved = state[job].saved
    found = [run for key, run in state.found[job].items() if key.startswith((f"c{saved.era}.", "f"))]
    last = max([saved.cursor, *(run.due for run in found)])
    if job in state.catalog:
        _skip_ahead(turn, state.catalog[job], last, [(run.due, run.last_due or run.due) for run in found])
    state.remember(job, cursor=last)
    if job in state.catalog:
        state.wind(state.catalog[job])


def _skip_ahead(turn: Turn, job: Job, last: int, covered: list[tuple[int, int]]) -> None:
    """Skip what is due after now and before `last`, but for what is `covered`, each from its first to its last."""
    cursor = max(turn.state[job.id].saved.cursor, turn.now.wall - job.offset)
    while job.enabled and (found := dues(job, cursor, last)[0]):
        skip_dues(turn, job, [d for d in found if not any(begin <= d <= end for begin, end in covered)], "missed")
        cursor = found[-1]


def _come_due(turn: Turn, job: Job) -> None:
    """Make every instant from the cursor to now a run or a skip, and move the cursor past them."""
    state = turn.state
    before = state[job.id].saved
    wall = turn.now.wall - job.offset
    found, following = dues(job, before.cursor, wall)
    previous = dict(zip(found, [before.previous or before.cursor, *found], strict=False))
    skips = tuple(it for it in before.skips if it.due > before.cursor)
    since = state.due_times.passed_since(job, found[-1])
    state.remember(job.id, cursor=found[-1], previous=0, skips=skips)
    state.wind(job)
    if state.fleet.lacks(job):
        return
    if known := state.found.get(job.id):
        found = [due for due in found if job.occurrence(before.era, due).key not in known]
    if before.paused:
        found = _after_pause(turn, job, found)
    complete = following is None or following > wall
    todo = catch_up.sort_out(job, found, wall, complete=complete, since=since)
    if job.scope is Scope.FLEET:  # only now, so that all hosts choose the same to catch up
        todo = catch_up.Sorted(*(state.fleet.untaken(job.id, dues) for dues in todo))
        state.fleet.pass_by(job.id, state[job.id].saved.cursor)
    skip_dues(turn, job, todo.missed, "missed")
    if _blows_fuse(turn, job, sum(wall - instant <= NEW for instant in todo.run)):
        skip_dues(turn, job, todo.run, "fuse")
        return
    for instant in todo.run:
        _new_of_clock(turn, job, job.occurrence(before.era, instant), previous[instant])


def _after_pause(turn: Turn, job: Job, found: list[int]) -> list[int]:
    """Skip what came due during the pause of a job, and resume it if that is over; what came due afterwards."""
    until = turn.state[job.id].saved.paused_until
    is_over = until is not None and until < turn.now.wall
    during = [due for due in found if not is_over or due + job.offset <= (until or 0)]
    skip_dues(turn, job, during, "paused")
    if not is_over:
        return []
    resume(turn, job.id, UNTIL)
    return found[len(during) :]


def _blows_fuse(turn: Turn, job: Job, fresh: int) -> bool:
    """Count the occurrences that are not late; tell whether they are too many.  A minute with fewer mends it."""
    if not fresh:
        return False
    state, mono = turn.state[job.id], turn.now.mono
    count, since = state.recent
    was_blown = state.fuse_blown
    if mono - since >= MINUTE:
        was_blown = was_blown and count > FUSE and mono - since < 2 * MINUTE
        count, since = 0, mono
    state.recent = count + fresh, since
    state.fuse_blown = was_blown or count + fresh > FUSE
    if state.fuse_blown and not was_blown:
        turn.say("fuse", job=job.id)
    return state.fuse_blown


def _new_of_clock(turn: Turn, job: Job, occurrence: Occurrence, previous: int) -> None:
    """Make a run or a skip of what the clock has made due; it takes the place of one that waits for dependencies."""
    state = turn.state
    for asked in state[job.id].saved.skips:
        if asked.due == occurrence.due:
            skip(turn, job, [occurrence], "skip_next", CLOCK._replace(asked_by=asked.asked_by))
            return
    limit = HELD_FROM_OTHERS if job.catch_up is CatchUp.ALL else HELD_FROM_CLOCK
    waits = [run for run in map(state.runs.__getitem__, state[job.id].due) if _waits(turn, job, run)]
    if not _refusal(turn, job, limit + len(waits)):
        for run in waits:
            give_up(turn, run, "superseded")
    _new(turn, job, occurrence, CLOCK, limit, previous)


def _waits(turn: Turn, job: Job, run: Run) -> bool:
    return dependencies.verdict(turn.state, job, run, turn.now).standing is Standing.AWAITED


def clock_stepped(turn: Turn, event: events.ClockStepped) -> None:
    """Take steps up to 3 h for gaps like any other (backward: the cursor stays), a larger one for a correction."""
    state, wall = turn.state, turn.now.wall
    turn.say("clock_stepped", seconds=event.step / SECOND)
    _shift(turn, event.step)
    for job in state.catalog.awaiting_paths():
        if state[job.id].saved.appeared > wall:  # else no file would be new until the clock is there again
            state.remember(job.id, appeared=wall)
    if abs(event.step) <= STEP_LIMIT:
        _pass_over(turn, event.step)
        return
    for job in state.catalog:
        start, era = state.due_times.next(job.id), state[job.id].saved.era + (event.step < 0)
        state.remember(job.id, cursor=wall, previous=0, era=era)
        if start is not None and start <= wall:
            skip_dues(turn, job, [start - job.offset], "clock")
        state.wind(job)


def slept(turn: Turn, event: events.Slept) -> None:
    """Move what durations count from with the clock; what was due meanwhile is caught up like after any gap."""
    _shift(turn, event.duration)
    _pass_over(turn, event.duration)


def _pass_over(turn: Turn, step: int) -> None:
    if 0 < step <= STEP_LIMIT:
        turn.state.due_times.pass_over(turn.now.wall - step, turn.now.wall)


def _shift(turn: Turn, step: int) -> None:
    state = turn.state
    state.patience.set_back.update(state.runs)
    expectation.shift(turn, step)
    for run in list(state.runs.values()):
        if (shifted := run.shifted(step)) != run:
            state.keep(shifted)
    for job in state.catalog:
        outcomes = state[job.id].saved.outcomes
        if outcomes:  # a dependency's success counts from when a run was held
            state.remember(job.id, outcomes=tuple(known._replace(ended=known.ended + step) for known in outcomes))


def booted(turn: Turn, boot: str) -> None:
    """Make due what a boot of the host makes due; that it was noticed is saved with the runs."""
    for job in turn.state.catalog:
        if job.at_boot and job.enabled:
            _new(turn, job, Occurrence(job.id, f"b{boot}", turn.now.wall), Cause("boot"))
    turn.state.note_boot(boot)


def asked(turn: Turn, event: events.RunAsked) -> None:
    """Make a job due for a person, who is not told a number that may be forgotten."""
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
        run = skip(turn, job, [occurrence], f"invalid: {trouble}", cause)
        if _look_up(turn, job):
            advice = "; this is looked up anew: if it is mended by now, ask once more"
    else:
        run = _new(turn, job, occurrence, cause)
    if run.state is RunState.SKIPPED:
        turn.refuse(event.ticket, "Refused", reason=f"{run.id} was skipped: {run.reason}{advice}")
    else:
        turn.reply(event.ticket, f"{run.id}, asked for by {event.asked_by}", run=str(run.id))


def submitted(turn: Turn, job: Job, asked_by: str | None) -> Run:
    """Make the next run of a submission due."""
    number = turn.state[job.id].saved.last_number + 1
    return _new(turn, job, Occurrence(job.id, f"s{number}", turn.now.wall), Cause("submitted", asked_by))


def emitted(turn: Turn, event: events.Emitted) -> None:
    """Make due what waits for an event; the answer names the runs, skipped ones too."""
    if turn.state.unsaved:
        turn.refuse(event.ticket, "Refused", reason=turn.state.unsaved)
        return
    cause = Cause(f"event {event.event}", event.asked_by, {"event": event.event, **(event.triggered_by or {})})
    catalog = turn.state.catalog
    waiting = catalog.listeners("event", event.event)
    jobs = [job for job in waiting if job.enabled and not turn.state.fleet.lacks(job)]
    runs = [str(_new(turn, job, Occurrence(job.id, event.key, turn.now.wall), cause).id) for job in jobs]
    turn.say("emitted", name=event.event, asked_by=event.asked_by, runs=runs)
    share = share_of(event.event)  # of another user's events nobody is told
    known = [] if waiting else [name for name in catalog.awaited_names("event") if share_of(name) == share]
    near = nearest(event.event, known) if 0 < len(known) <= MANY else ""
    disabled = [job.id for job in waiting if not job.enabled]
    what = f"event {event.event}, emitted by {event.asked_by}"
    turn.reply(event.ticket, what, runs=runs, disabled=disabled, nearest=near or None)


def appeared(turn: Turn, event: events.PathAppeared) -> None:
    """Make due what waits for a file that has appeared; a run that has yet to start will find it too."""
    state, wall = turn.state, turn.now.wall
    cause = Cause(f"path {awaited_path(event.path)}", None, {"path": event.file})
    for job in state.catalog.listeners("path", event.path):
        if event.instant <= state[job.id].saved.appeared or not job.enabled:
            continue
        state.remember(job.id, appeared=max(event.instant, wall))
        if not state[job.id].unstarted:
            _new(turn, job, Occurrence(job.id, event.key, wall), cause)


def follow(turn: Turn, ended: Run, record: Record) -> None:
    """Do what other jobs do about the final end of a run, which left this record."""
    state, wall = turn.state, turn.now.wall
    result = "success" if ended.state is RunState.SUCCEEDED else "failure"
    hearing, dependents = _hearing(state, ended, result), state.catalog.dependents(ended.id.job)
    end = _end(ended, record)
    cause = Cause(f"end of {ended.id}", None, end)
    for job, pattern in hearing:
        by = cause if pattern is None else cause._replace(triggered_by={**end, "pattern": pattern})
        _new(turn, job, Occurrence(job.id, f"j{ended.id}", wall), by)
    for job in map(state.catalog.__getitem__, dependents):
        counts = result == "success" or job.on_dependency_failure == "run"
        if job.enabled and not job.triggers and counts and dependencies.satisfy(state, ended.id.job, job):
            _new(turn, job, Occurrence(job.id, f"d{ended.id}", wall), cause)


def _hearing(state: SchedulerState, ended: Run, result: str) -> list[tuple[Job, str | None]]:
    """The jobs that hear of this end, each once, with the pattern by which; None: by the id.

    A pattern hears nothing of what a pattern has made due, directly or by way of others: so no chain is endless.
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
    """The end of a run, as those are told it that it makes due."""
    end: TriggeredBy = {
        "run": str(ended.id), "state": ended.state.value, "exit_code": record.get("exit_code"),
        "signal": record.get("signal"),
    }  # fmt: skip
    if "pattern" in (by := ended.triggered_by or {}):
        end["pattern"] = by["pattern"]
    if "trace_id" in record:
        end["traceparent"] = spans.traceparent(record["trace_id"], record["span_id"])
    return end


def _counts(turn: Turn, run: Run) -> bool:
    """Tell whether a run is in the way of another: not one that may be another host's by now, or is to be told of."""
    return not hosts_before(run.key) and (run.state is not RunState.DUE or run.not_before <= turn.now.wall)


def _refusal(turn: Turn, job: Job, limit: int) -> str:
    """The reason why an occurrence of a job becomes no run; "" if nothing is against it."""
    state = turn.state[job.id]
    if state.saved.paused:
        return "paused"
    if state.invalid is not None:
        return f"invalid: {state.invalid.text}"
    if turn.state.is_completed(job):
        return "max_runs"
    waiting = [run for run in map(turn.state.runs.__getitem__, (*state.due, *state.waiting)) if _counts(turn, run)]
    due = sum(run.state is RunState.DUE for run in waiting)
    if job.overlap is Overlap.SKIP and state.under_way + due >= job.concurrency:
        return "overlap"
    unstarted = sum(run.so_far is None for run in waiting)
    if job.overlap is not Overlap.REPLACE and unstarted >= (limit if job.max_waiting is None else job.max_waiting):
        return "queue_full"
    return ""


def _new(
    turn: Turn, job: Job, occurrence: Occurrence, cause: Cause, limit: int = HELD_FROM_OTHERS, previous: int = 0
) -> Run:
    """Make a run of an occurrence, or a skip with the reason; `previous`: the instant before it in the job's rhythm."""
    state = turn.state
    if state[job.id].saved.satisfied and job.submission is None:
        state.remember(job.id, satisfied=())
    if (known := state.found.get(job.id, {}).get(occurrence.key) or _again(state, occurrence)) is not None:
        return known
    if refusal := _refusal(turn, job, limit):
        return skip(turn, job, [occurrence], refusal, cause)
    held = turn.now.wall if cause == CLOCK and dependencies.hold_back(job) else 0
    run = state.number(occurrence, turn.now.wall, previous=previous, held=held, **cause._asdict())
    if (
        job.scope is Scope.FLEET
        and cause == CLOCK
        and (wait := state.fleet.turn_of(state.limits.name, job, occurrence))
    ):
        run = changed(run, not_before=turn.now.wall + wait)
    if job.overlap is Overlap.REPLACE:
        _replace_older(turn, job, run)
    state.put_due(run)
    state.stir(job.id)
    watch_over(turn, job, run)
    _look_up(turn, job)
    return run


def _again(state: SchedulerState, occurrence: Occurrence) -> Run | None:
    """The run that there is of an occurrence of the fleet, to which the clock comes again after it was set back."""
    return run_of(state, occurrence.job, occurrence.key) if is_of_fleet(occurrence.key) else None


def run_of(state: SchedulerState, job: str, key: str) -> Run | None:
    """The run of an occurrence before its end; None: there is none."""
    runs = map(state.runs.__getitem__, state.standing(job).unfinished)
    return next((run for run in runs if run.key == key), None)


def _look_up(turn: Turn, job: Job) -> bool:
    """Ask for the user and groups of a job of which it is not known that they are there; False: there are none."""
    unknown = list(turn.state.accounts_to_look_up(job))
    for account in unknown:
        turn.do(LookUp(account))
    return bool(unknown)


def _replace_older(turn: Turn, job: Job, run: Run) -> None:
    """Give a new run of a job at its `concurrency` the place of those that are not live, then of the oldest live."""
    state, reason = turn.state, f"{REPLACED_BY}{run.id}"
    pending = state[job.id].pending
    going = sorted(live for live in state[job.id].live if state.runs[live].state is not RunState.STOPPING)
    beyond = len(going) + len(pending) + 1 - job.concurrency
    for older in pending[: max(0, beyond)]:
        give_up(turn, state.runs[older], reason, stopped=True)
    for live in going[: max(0, beyond - len(pending))]:
        stop(turn, state.runs[live], reason)
