"""Dependencies: whether the jobs that a run depends on allow its start, and when the ends of these jobs make a job due.

For a job with a clock, let T be the due time of a run, and P the job's previous due time, or when the job was loaded.
For each dependency, the newest occurrence due in (P, T] must have succeeded. If this occurrence is under way, the run
waits for its end. If no occurrence is due in (P, T], or if the newest was skipped, the run waits for the dependency's
next success. If the clock was set back before T, due times that the dependency repeats do not count.

A job without a clock is due when each dependency has succeeded since the job was last due. Such a job is out of step if
it would use a success from a dependency's previous round. A job that is out of step waits for the end of the current
round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto

from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.job import Job, Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, RunState
from jobqueued.model.saved import Outcome, SavedJob


class DependencyStates(Enum):
    """The possible states of a run's dependencies."""

    MET = auto()
    AWAITED = auto()
    FAILED = auto()


class DependencyVerdict(NamedTuple):
    """The state of a run's dependency, or of the deciding one if several exist, and the reason."""

    state: DependencyStates
    dependency: str = ""
    why: str = ""
    timed_out: bool = False

    @property
    def reason(self) -> Reason:
        """The reason why the run waits or, if a dependency failed, why the run ends."""
        code = Code.DEPENDENCY_TIMEOUT if self.timed_out else Code.DEPENDENCY
        return Reason(code, job=self.dependency, why=self.why)


_MET = DependencyVerdict(DependencyStates.MET)


def hold_back(job: Job) -> bool:
    """Return whether a job's dependencies hold back its scheduled runs; otherwise they make the job due."""
    return bool(job.dependencies and job.triggers)


def verdict(state: SchedulerState, job: Job, run: Run, now: Now) -> DependencyVerdict:
    """Return the verdict on a run's dependencies: on a failed dependency if one exists, otherwise on an awaited
    dependency.
    """
    if run.trigger != "schedule" or run.so_far is not None or not hold_back(job):
        return _MET
    found = [_of(state, name, run, now) for name in job.dependencies]
    awaited = next((one for one in found if one.state is DependencyStates.AWAITED), None)
    if awaited is not None and run.held and now.wall - run.held >= job.dependency_timeout:
        found.append(awaited._replace(state=DependencyStates.FAILED, timed_out=True))
    failed = next((one for one in found if one.state is DependencyStates.FAILED), None)
    if failed is not None:
        return _MET if job.on_dependency_failure == "run" else failed
    return awaited or _MET


def note_outcome(turn: Turn, run: Run, end: int | None = None) -> None:
    """Save the end of a job's occurrence, for jobs that depend on this job now or later.

    `end`: when the run ended (wall, ns), for ends that the daemon finds at its start; None means now.
    """
    state, name, due = turn.state, run.id.job, run.due if run.last_due is None else run.last_due
    state.mark_for_check(name)
    others = [known for known in state[name].saved.outcomes if known.run != run.id.number]
    outcome = Outcome(run.id.number, due, turn.now.wall if end is None else end, run.state.value)
    state.remember(name, outcomes=_needed(state, name, (*others, outcome)))


def _needed(state: SchedulerState, name: str, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Return a job's outcomes to save: the newest, the last success, and the outcomes that pending or future runs
    depend on.
    """
    spans = [(0, max(known.due for known in outcomes))]
    for job in map(state.catalog.__getitem__, state.catalog.dependents(name)):
        start = state.due_times.next(job.id)
        pending = (state.runs[run] for run in state[job.id].pending)
        spans += [(run.previous, run.due) for run in pending]
        if start is not None:
            spans.append((state[job.id].saved.cursor, start - job.offset))
    needed = {_newest(outcomes, *span) for span in spans}
    needed.add(max((known for known in outcomes if known.state == RunState.SUCCEEDED), key=_ended, default=None))
    return tuple(known for known in outcomes if known in needed)


def _ended(outcome: Outcome) -> int:
    return outcome.ended


def _of(state: SchedulerState, name: str, run: Run, now: Now) -> DependencyVerdict:
    """Return the verdict on one dependency of a run: the job `name`, judged by its newest occurrence due after
    `run.previous` and up to the due time of `run`.
    """
    coming = state.due_times.next(name)
    past = _reached(state, name) if run.due > now.wall else 0  # after a step back, due times up to `past` may repeat
    if coming is not None and past < coming - state.catalog[name].offset <= run.due:
        return DependencyVerdict(DependencyStates.AWAITED, name, "it is due and starts soon (`spread`)")
    newest = _newest(state[name].saved.outcomes, run.previous, run.due)
    moving = _moving(state, name)
    inside = [other for other in moving if run.previous < other.due <= run.due]
    last = max(inside, key=lambda other: (other.due, other.id.number), default=None)
    if last is not None and (newest is None or (newest.due, newest.run) < (last.due, last.id.number)):
        return DependencyVerdict(DependencyStates.AWAITED, name, f"{last.id} is {last.state}")
    if newest is not None and newest.state == RunState.SUCCEEDED:
        return _MET
    if newest is not None and newest.state != RunState.SKIPPED:
        return DependencyVerdict(DependencyStates.FAILED, name, f"{name}@{newest.run} {newest.state.replace('_', ' ')}")
    if any(
        known.state == RunState.SUCCEEDED and known.ended >= (run.held or run.queued)
        for known in state[name].saved.outcomes
    ):
        return _MET
    return _next_success(state, name, moving)


def _reached(state: SchedulerState, name: str) -> int:
    """Return the latest due time that the clock of a job has reached, as far as is known."""
    saved, runs = state[name].saved, map(state.runs.__getitem__, state[name].unfinished)
    return max([saved.settled, *(known.due for known in saved.outcomes), *(run.due for run in runs)])


def _newest(outcomes: tuple[Outcome, ...], previous: int, due: int) -> Outcome | None:
    inside = [known for known in outcomes if previous < known.due <= due]
    return max(inside, key=lambda known: (known.due, known.run), default=None)


def _moving(state: SchedulerState, name: str) -> list[Run]:
    """Return the runs of a job that can still succeed; if the job is paused, only its live runs."""
    runs = [state.runs[run] for run in state[name].unfinished]
    return [run for run in runs if run.state in LIVE] if state[name].saved.paused else runs


def _next_success(state: SchedulerState, name: str, moving: list[Run]) -> DependencyVerdict:
    """Return the verdict on a dependency that has not run in time: awaited if a later success is possible, otherwise
    failed.
    """
    job = state.catalog.get(name)
    if job is None and not state.complete:
        return DependencyVerdict(DependencyStates.AWAITED, name, "its file does not exist yet, or can't be read")
    if job is None:
        return DependencyVerdict(DependencyStates.FAILED, name, "no such job")
    if moving:
        first = min(moving, key=lambda run: run.id)
        return DependencyVerdict(DependencyStates.AWAITED, name, f"{first.id} is {first.state}")
    if state[name].saved.paused:
        return DependencyVerdict(DependencyStates.FAILED, name, "it is paused")
    if not job.enabled:
        return DependencyVerdict(DependencyStates.FAILED, name, "it is disabled")
    if state.is_completed(job):
        return DependencyVerdict(DependencyStates.FAILED, name, "its `max_runs` have started")
    if reason := state.invalid(job):
        return DependencyVerdict(DependencyStates.FAILED, name, f"it is invalid: {reason}")
    return DependencyVerdict(DependencyStates.AWAITED, name, "it has not run in time; waiting for its next success")


def satisfy(turn: Turn, ended: Run, job: Job, *, counts: bool) -> tuple[RunId, ...]:
    """Record the end of a run that `job` depends on; `counts`: whether the end counts as a success.

    Return the ends that make `job` due, one for each dependency, sorted by name, or () if the job is not due. An end
    does not count twice if it already made a run due that only a run directory or record shows. The ends that it
    replaced do not count either. A job that is out of step waits for one more end.
    """
    state, saved = turn.state, turn.state[job.id].saved
    ends = {end.job: end for end in saved.ends}
    satisfied = {*saved.satisfied} & set(job.dependencies)
    if f"d{ended.id}" in state.found.get(job.id, {}):
        _remember(state, job, satisfied - {ended.id.job}, ends)
        return ()
    for old in sorted(_used_up(state, job, satisfied - ends.keys(), turn.now.wall)):
        turn.say("out_of_step", job=job.id, end=str(old), awaited=old.job)
        satisfied.discard(old.job)
    if counts:
        satisfied.add(ended.id.job)
        ends[ended.id.job] = ended.id
        saved = _remember(state, job, satisfied, ends)
    if satisfied != set(job.dependencies):
        return ()
    of_last_round = [*_of_last_round(turn, ended, job, saved.ends)] if counts else []
    for end, awaited in of_last_round:
        turn.say("out_of_step", job=job.id, end=str(end), awaited=str(awaited))
    return () if of_last_round else saved.ends


def _remember(state: SchedulerState, job: Job, satisfied: set[str], ends: Mapping[str, RunId]) -> SavedJob:
    """Save the dependencies that succeeded since a job was last due, and their ends."""
    known = tuple(sorted(end for name, end in ends.items() if name in satisfied))
    return state.remember(job.id, satisfied=tuple(sorted(satisfied)), ends=known)


def _used_up(state: SchedulerState, job: Job, names: Iterable[str], wall: int) -> Iterator[RunId]:
    """Yield the successes that have already made a job due: a dependency's newest success, if it was due before the job
    was last due.

    Earlier versions did not save which ends made a job due, so a used success could count twice.
    """
    for name in names:
        succeeded = [known for known in state[name].saved.outcomes if known.state == RunState.SUCCEEDED]
        newest = max(succeeded, key=_ended, default=None)
        if newest is not None and newest.due <= _last_due(state, job.id, wall):
            yield RunId(name, newest.run)


def _last_due(state: SchedulerState, name: str, wall: int) -> int:
    """Return when a job's newest run was due, or 0 if the job has no known run or if the time is in the future."""
    dues = {known.run: known.due for known in state[name].saved.outcomes}
    dues |= {run.number: state.runs[run].due for run in state[name].unfinished}
    last = dues[max(dues)] if dues else 0
    return last if last <= wall else 0


def _of_last_round(turn: Turn, ended: Run, job: Job, ends: Iterable[RunId]) -> Iterator[tuple[RunId, RunId]]:
    """Yield the ends that belong to the previous round, each with the dependency's newer run that is under way.

    The ended run was due before the job was last due. The newer run was due no later than `ended`.
    """
    state, last = turn.state, _last_due(turn.state, job.id, turn.now.wall)
    for end in ends:
        due = next((known.due for known in state[end.job].saved.outcomes if known.run == end.number), None)
        if end == ended.id or due is None or due > last:
            continue
        newer = [run for run in _moving(state, end.job) if due < run.due <= ended.due]
        if newer:
            yield end, max(newer, key=lambda run: run.due).id
