"""Lateness: people are notified once of a run that has not started or ended within its usual time.

Each unfinished run has one deadline, which is set when the run is created and renewed when it starts. A run that a user
holds back by a pause or a hold is not late; its time restarts afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, auto

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.base.text import duration
from jobqueued.child.contract.reasons import reserved_for
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records import usual
from jobqueued.core.records.recollection import began
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.job import Job, Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import PENDING
from jobqueued.model.saved import SavedJob
from jobqueued.model.users import Owner

FIRST = HOUR
"""Wait (ns) after which a scheduled run is late, if its job has never started."""


class _LateRule(Enum):
    """The rules that set a limit: `late: {after: …}`, the usual time, or the default for a first start."""

    AFTER = auto()
    USUAL = auto()
    FIRST = auto()


class _Limit(NamedTuple):
    """A limit: a run must start or end no later than `within` ns after `begun` (wall). `runs`: number of past runs on
    which the limit
    is based.
    """

    rule: _LateRule
    begun: int
    within: int
    runs: int = 0


def watch(turn: Turn, run: Run) -> None:
    """Set the deadline of an unfinished run."""
    state, now = turn.state, turn.now
    limit = None if run.id.number in state[run.id.job].saved.late else _limit(state, run)
    if limit is None:
        state.lateness.forget(run.id)
        return
    counts = has_waited(state, run) if begun(run) is None else run.id not in state.lateness.set_back
    passed = min(max(0, now.wall - limit.begun), limit.within) if counts else 0
    state.lateness.wait(run.id, now.mono + limit.within - passed, limit.within)


def has_waited(state: SchedulerState, run: Run) -> bool:
    """Return whether a run has waited only for its turn in the queue, until its start or until now."""
    return run.id not in state.lateness.held and run.id not in state.lateness.set_back


def lacked(state: SchedulerState, run: Run, owner: Owner | None) -> tuple[str, ...]:
    """Return the missing resources and the reservations that have held a run back in the queue, as its owner may see
    them.
    """
    return tuple(
        it.removeprefix(":") if isinstance(it, str) else reserved_for(state.name_for(it, owner))
        for it in state.admission.refusals.get(run.id, ())
    )


def go_on(turn: Turn, runs: Iterable[RunId]) -> None:
    """Restart the time of these runs, unless they have started, because a user held them back until now."""
    for run in map(turn.state.runs.__getitem__, runs):
        if run.state in PENDING and begun(run) is None:
            turn.state.lateness.held.add(run.id)
            watch(turn, run)


def look(turn: Turn, limit: int) -> None:
    """Report at most `limit` of the runs that are late now; a run whose usual time has grown gets more time."""
    state, now = turn.state, turn.now
    for name, within in state.lateness.over(now.mono, limit):
        run = state.runs[name]
        bound = _limit(state, run)
        if bound is None or _is_held_back(state, run):
            continue
        if bound.within > within:
            state.lateness.wait(name, now.mono + bound.within - within, bound.within)
            continue
        state.remember(name.job, late=(*state[name.job].saved.late, name.number))
        turn.say("run_late", job=name.job, run=str(name), reason=words(state, run, now))


def over(turn: Turn, run: Run) -> None:
    """Record the end of a run; if the run was its job's last late run, log that no run of the job is late any
    longer.
    """
    late = turn.state[run.id.job].saved.late
    if run.id.number not in late:
        return
    others = tuple(number for number in late if number != run.id.number)
    turn.state.remember(run.id.job, late=others)
    if not others:
        turn.say("late_over", job=run.id.job, run=str(run.id), state=run.state.value, reason=run.reason)


def restored(state: SchedulerState) -> None:
    """After a restart, forget late runs that have ended, and mark all pending runs as held back."""
    state.lateness.held.update(run.id for run in state.runs.values() if run.state in PENDING)
    for name in {run.job for run in state.runs} | state.noted:
        late = tuple(number for number in state[name].saved.late if RunId(name, number) in state.runs)
        if late != state[name].saved.late:
            state.remember(name, late=late)


def words(state: SchedulerState, run: Run, now: Now) -> str:
    """Describe how late a run is, and under which rule. A run that has started may be late only because it waited too
    long.
    """
    first, limit = begun(run), _limit(state, run)
    if limit is not None and limit.rule is _LateRule.AFTER:
        due = f"it was due {_passed(limit.begun, now)} ago and has not {'started' if first is None else 'ended'}"
        return f"{due}; it should end within {_in_words(limit.within)}"
    if first is None:
        return _worded(f"it has waited {_passed(run.queued, now)}", "start", limit)
    is_over = limit is not None and limit.begun + limit.within <= now.wall
    wait = None if is_over else _limit(state, run, at_start=True)
    if wait is not None and wait.begun + wait.within <= first:
        return _worded(f"it waited {_in_words(first - wait.begun)} before it started", "start", wait)
    if run.so_far is not None:
        return _worded(f"it retries, and its first attempt started {_passed(first, now)} ago", "end", limit)
    return _worded(f"it has run for {_passed(first, now)}", "end", limit)


def _worded(going_on: str, step: str, limit: _Limit | None) -> str:
    if limit is None:
        return going_on
    within = _in_words(limit.within)
    if limit.rule is _LateRule.FIRST:
        return f"{going_on}; it should {step} within {within}"
    known = "run" if limit.runs == 1 else f"{limit.runs} runs"
    return f"{going_on}; usually it {step}s within {within} (based on its last {known})"


def _passed(instant: int, now: Now) -> str:
    return _in_words(max(0, now.wall - instant))


def _in_words(time: int) -> str:
    return duration(time / SECOND)


def begun(run: Run) -> int | None:
    """Return when (wall) the first attempt of a run started, or None if it has not started or the start is unknown."""
    if run.so_far is not None:
        return began(run.so_far)
    return run.started if run.pid is not None else None


def _is_held_back(state: SchedulerState, run: Run) -> bool:
    """Return whether a pause, a hold or a failure to save the state keeps a run from starting."""
    held = state[run.id.job].saved.paused or state.hold is not None or bool(state.unsaved)
    return held and run.state in PENDING and begun(run) is None


def _limit(state: SchedulerState, run: Run, *, at_start: bool = False) -> _Limit | None:
    """Return the limit that a run reaches first, or None if no limit applies. With `at_start`, consider only limits for
    its start.
    """
    job = state.catalog.get(run.id.job)
    found = () if job is None else _limits(state[job.id].saved, job, run, None if at_start else begun(run))
    return min(found, key=lambda limit: limit.begun + limit.within, default=None)


def _limits(saved: SavedJob, job: Job, run: Run, first: int | None) -> Iterator[_Limit]:
    if job.late is None:
        return
    if job.late.after is not None:
        yield _Limit(_LateRule.AFTER, run.queued, job.late.after)
        if job.late.level is None:
            return
    if first is not None:
        known = usual.durations(saved.took)
        if (within := usual.bound(job.late.level, known)) is not None:
            yield _Limit(_LateRule.USUAL, first, within, len(known))
        return
    known = usual.durations(saved.delays)
    if (within := usual.bound(job.late.level, known)) is not None:
        yield _Limit(_LateRule.USUAL, run.queued, max(within, job.grace), len(known))
    elif run.trigger == "schedule" and not run.held:  # dependencies may take any time
        yield _Limit(_LateRule.FIRST, run.queued, max(FIRST, job.grace))
