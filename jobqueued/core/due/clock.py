"""Each job's clock: it makes occurrences due, including after gaps and steps of the system clock."""

from __future__ import annotations

from functools import partial

from jobqueued.base.instants import MINUTE, SECOND, STEP_LIMIT
from jobqueued.base.replace import changed
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.due.occurrences import HELD_FROM_OTHERS, new, refusal
from jobqueued.core.due.redefinition import dues
from jobqueued.core.due.set_back import set_back
from jobqueued.core.late import expectation
from jobqueued.core.records.recollection import era_of
from jobqueued.core.runs import dependencies
from jobqueued.core.runs.completion import give_up
from jobqueued.core.runs.dependencies import DependencyStates
from jobqueued.core.runs.eligibility import resume
from jobqueued.core.runs.host_hold import UNTIL
from jobqueued.core.runs.skips import CLOCK, skip
from jobqueued.core.state.turn import Turn
from jobqueued.model import events
from jobqueued.model.job import CatchUp, Job, Occurrence, Scope
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import SavedJob

HELD_FROM_CLOCK = 1
"""Maximum number of unstarted runs of a job without `max_waiting`; above it, the clock adds no runs."""
FUSE, NEW = 100, 10 * SECOND
"""Maximum number of a job's new occurrences per minute, and maximum age (ns) of a new occurrence."""
_MISSED, _PAUSED = Reason(Code.MISSED), Reason(Code.PAUSED)


def woke(turn: Turn) -> None:
    """Handle the due times of all jobs up to now."""
    for name in turn.state.due_times.take(turn.now.wall):
        _come_due(turn, turn.state.catalog[name], at_once=False)


def catch_clock(turn: Turn, job: Job) -> None:
    """Handle a job's due times up to now, because the job is about to change."""
    while (start := turn.state.due_times.next(job.id)) is not None and start <= turn.now.wall:
        _come_due(turn, job, at_once=True)


def comes_due(turn: Turn, job: Job) -> bool:
    """Handle a job's due times up to now.

    Return False if the clock must wait because other hosts have not answered a question about a skip.
    """
    while (start := turn.state.due_times.next(job.id)) is not None and start <= turn.now.wall:
        if not _come_due(turn, job, at_once=False):
            return False
    return True


def skip_dues(turn: Turn, job: Job, dues: list[int], reason: Reason) -> None:
    """Skip these due times of a job; do nothing if the list is empty."""
    if dues:
        named = partial(job.occurrence, turn.state[job.id].saved.era)
        skip(turn, job, list(map(named, dues)), reason)


def cover(turn: Turn, job: str) -> None:
    """Move a job's cursor past the occurrences that run directories or records show; other past due times become due
    again.

    These occurrences may lie in the future if the clock was set back and the step was not saved. Due times between now
    and a future occurrence were handled before the step, so they are skipped.
    """
    state = turn.state
    if job in state.catalog:
        if state.others.shares(state.catalog[job]):  # its occurrences are recognized by their keys
            return
        _catch_era(turn, state.catalog[job])
        _take_up_era(turn, state.catalog[job])
    saved = state[job].saved
    found = [run for key, run in state.found[job].items() if key.startswith((f"c{saved.era}.", "f"))]
    last = max([saved.cursor, *(run.due for run in found)])
    if job in state.catalog:
        _skip_ahead(turn, state.catalog[job], last, [(run.due, run.last_due or run.due) for run in found])
    state.remember(job, cursor=last)
    if job in state.catalog:
        _stand(turn, job, set_back(state[job].saved, state.catalog[job], turn.now.wall))
        state.set_clock(state.catalog[job])


def _catch_era(turn: Turn, job: Job) -> None:
    """Handle a job's due times up to now or, if a run directory or record shows a run of a newer era, up to that
    run.
    """
    known, era = turn.state.found[job.id], turn.state[job.id].saved.era
    newer = [run.due for key, run in known.items() if (of := era_of(key)) is not None and of > era]
    if not newer:
        catch_clock(turn, job)
        return
    until = min(newer) - 1
    while (start := turn.state.due_times.next(job.id)) is not None and start - job.offset <= until:
        _come_due(turn, job, at_once=True, until=until)


def _take_up_era(turn: Turn, job: Job) -> None:
    """Continue in the newest era that run directories or records show; the step back that started this era was not
    saved.

    Due times that were reached in earlier eras are settled, unless they are more than STEP_LIMIT ahead of the clock.
    """
    state, saved, wall = turn.state, turn.state[job.id].saved, turn.now.wall
    found = [(era, run) for key, run in state.found[job.id].items() if (era := era_of(key)) is not None]
    era = max([saved.era, *(of for of, _ in found)])
    reached = max([saved.settled, *(run.last_due or run.due for of, run in found if of < era)])
    cursor = saved.cursor
    if era > saved.era:
        reached, cursor = max(reached, cursor), min(run.due for of, run in found if of == era) - 1
    settled = reached if cursor < reached <= wall + STEP_LIMIT else saved.settled
    if (era, settled) != (saved.era, saved.settled):
        state.remember(job.id, era=era, cursor=cursor, settled=settled)
        state.set_clock(job)
        catch_clock(turn, job)


def _skip_ahead(turn: Turn, job: Job, last: int, covered: list[tuple[int, int]]) -> None:
    """Skip the due times between now and `last`, except in the `covered` periods (first and last due time)."""
    cursor = max(turn.state[job.id].saved.cursor, turn.now.wall - job.offset)
    while job.enabled and (found := dues(job, cursor, last, turn.state[job.id].saved.settled)[0]):
        skip_dues(turn, job, [d for d in found if not any(begin <= d <= end for begin, end in covered)], _MISSED)
        cursor = found[-1]


def _come_due(turn: Turn, job: Job, *, at_once: bool, until: int | None = None) -> bool:
    """Turn each due time from the cursor to now, or to an earlier `until`, into a run or a skip; move the cursor past
    them.

    Return False, and do nothing, if other hosts must first answer a question about a skip. With `at_once`, never wait
    for an answer.
    """
    state = turn.state
    before = state[job.id].saved
    wall = turn.now.wall - job.offset
    found, following = dues(job, before.cursor, wall if until is None else until, before.settled)
    complete, since = following is None or following > wall, state.due_times.passed_since(job, found[-1])
    if state.others.hold_up(turn, job, found, following, since, at_once=at_once):
        return False
    previous = dict(zip(found, [before.previous or before.cursor, *found], strict=False))
    skips = tuple(it for it in before.skips if it.due > before.cursor)
    cursor, settled = found[-1], before.settled if before.settled > found[-1] else 0
    state.remember(job.id, cursor=cursor, previous=0, settled=settled, skips=skips)
    state.set_clock(job)
    if state.others.keep_all(job, cursor):
        return True
    if known := state.found.get(job.id):
        found = [due for due in found if job.occurrence(before.era, due).key not in known]
    if before.settled:  # handled before the clock was set back, and skipped by a step of the clock since then
        found = [due for due in found if due > before.settled or not state.due_times.jumped(job, due)]
    if before.paused:
        found = _after_pause(turn, job, found)
    todo = state.others.sort_out(job, found, wall, cursor, complete=complete, since=since)
    skip_dues(turn, job, state.others.own_skips(job, todo.missed), _MISSED)
    if _blows_fuse(turn, job, sum(wall - instant <= NEW for instant in todo.run)):
        skip_dues(turn, job, todo.run, Reason(Code.FUSE))
        return True
    for place, instant in enumerate(todo.run):
        run = _new_of_clock(turn, job, job.occurrence(before.era, instant), previous[instant])
        if run.reason is not None and _refuses_later(turn, job, run):
            skip_dues(turn, job, todo.run[place + 1 :], run.reason)
            break
    return True


def is_of_pause(turn: Turn, job: Job, due: int) -> bool:
    """Return whether an occurrence was to start before the end of its job's pause."""
    until = turn.state[job.id].saved.paused_until
    return until is None or until > turn.now.wall or due + job.offset < until


def _after_pause(turn: Turn, job: Job, found: list[int]) -> list[int]:
    """Skip the due times during a job's pause, resume the job if its pause is over, and return the later due times."""
    until = turn.state[job.id].saved.paused_until
    is_over = until is not None and until <= turn.now.wall
    during = [due for due in found if is_of_pause(turn, job, due)]
    skip_dues(turn, job, turn.state.others.own_skips(job, during), _PAUSED)
    if not is_over:
        return []
    resume(turn, job.id, UNTIL)
    return found[len(during) :]


def _blows_fuse(turn: Turn, job: Job, fresh: int) -> bool:
    """Count `fresh` new occurrences of a job; return whether its fuse is blown.

    The fuse blows if a minute has more than FUSE new occurrences, and is restored after a minute with fewer.
    """
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


def _new_of_clock(turn: Turn, job: Job, occurrence: Occurrence, previous: int) -> Run:
    """Turn a scheduled occurrence into a run or a skip; the new run replaces runs that wait for dependencies."""
    state = turn.state
    for asked in state[job.id].saved.skips:
        if asked.due == occurrence.due:
            return skip(turn, job, [occurrence], Reason(Code.SKIP_NEXT), CLOCK._replace(asked_by=asked.asked_by))
    limit = HELD_FROM_OTHERS if job.catch_up is CatchUp.ALL else HELD_FROM_CLOCK
    waits = [run for run in map(state.runs.__getitem__, state[job.id].due) if _waits(turn, job, run)]
    if not refusal(turn, job, limit + len(waits)):
        for run in waits:
            give_up(turn, run, Reason(Code.SUPERSEDED))
    return new(turn, job, occurrence, CLOCK, limit, previous)


def _refuses_later(turn: Turn, job: Job, run: Run) -> bool:
    """Return whether the reason of this occurrence's skip applies to all later occurrences of the same turn, too."""
    is_alone = job.scope is Scope.HOST and not turn.state[job.id].saved.skips
    return run.state is RunState.SKIPPED and is_alone


def _waits(turn: Turn, job: Job, run: Run) -> bool:
    return dependencies.verdict(turn.state, job, run, turn.now).state is DependencyStates.AWAITED


def clock_stepped(turn: Turn, event: events.ClockStepped) -> None:
    """Handle a step of the system clock.

    A step forward of up to 3 h counts as a gap. A larger step counts as a correction: the jobs' clocks continue from
    the new time, as they do after a step back.
    """
    state, wall = turn.state, turn.now.wall
    turn.say("clock_stepped", seconds=event.step / SECOND)
    state.others.clock_stepped(event.step, turn.now.mono)
    _shift(turn, event.step)
    for job in state.catalog.awaiting_paths():
        if state[job.id].saved.appeared > wall:  # otherwise no file would be new until the clock reaches that instant
            state.remember(job.id, appeared=wall)
    _keep_rates(turn, event.step)
    if abs(event.step) <= STEP_LIMIT:
        state.due_times.jump(wall - event.step, wall)
        if event.step > 0:
            return
    for job in state.catalog:
        _follow_step(turn, job, event.step)


def _follow_step(turn: Turn, job: Job, step: int) -> None:
    """Continue a job's clock from the new time, after a step back or a correction."""
    state, wall, saved = turn.state, turn.now.wall, turn.state[job.id].saved
    after = changed(saved, cursor=wall, previous=0) if step > 0 else set_back(saved, job, wall, -step)
    if after is saved:
        return
    start = state.due_times.next(job.id)
    _stand(turn, job.id, after)
    if abs(step) > STEP_LIMIT and start is not None and start <= wall:
        skip_dues(turn, job, [start - job.offset], Reason(Code.CLOCK))
    state.set_clock(job)


def _stand(turn: Turn, job: str, after: SavedJob) -> None:
    """Save the clock position in `after` as the position of a job's clock."""
    turn.state.remember(job, cursor=after.cursor, previous=after.previous, era=after.era, settled=after.settled)


def slept(turn: Turn, event: events.Slept) -> None:
    """Shift all instants that durations are measured from; due times during the sleep are handled like due times in a
    gap.
    """
    turn.state.others.slept(event.duration, turn.now.mono)
    _shift(turn, event.duration)
    _keep_rates(turn, 0)
    if 0 < event.duration <= STEP_LIMIT:
        turn.state.due_times.pass_over(turn.now.wall - event.duration, turn.now.wall)


def _keep_rates(turn: Turn, step: int) -> None:
    """Keep the used part of each job's `rate` over a step of the clock (ns), and check the jobs at their new times."""
    for name, job_state in turn.state.jobs.items():
        if (use := job_state.saved.rate_use).full_at:
            turn.state.remember(name, rate_use=use._replace(full_at=use.full_at + step))
            turn.state.mark_for_check(name)


def _shift(turn: Turn, step: int) -> None:
    state = turn.state
    state.lateness.set_back.update(state.runs)
    expectation.shift(turn, step)
    for run in list(state.runs.values()):
        if (shifted := run.shifted(step)) != run:
            state.keep(shifted)
    for job in state.catalog:
        outcomes = state[job.id].saved.outcomes
        if outcomes:  # a success counts if it ended after a run was held, and the instant of the hold was shifted
            state.remember(job.id, outcomes=tuple(known._replace(ended=known.ended + step) for known in outcomes))
