"""Eligibility: the obstacles that keep a due run from the queue, and how a run joins the queue or is given up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum, auto

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Code, Reason, wait_for_dependency
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.late import lateness
from jobqueued.core.records.lifecycle import RunStep
from jobqueued.core.runs import dependencies
from jobqueued.core.runs.completion import give_up
from jobqueued.core.runs.dependencies import DependencyStates, DependencyVerdict
from jobqueued.core.runs.host_hold import UNTIL
from jobqueued.core.runs.retries import most_attempts
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import SavePast
from jobqueued.model.events import RetryAsked
from jobqueued.model.job import Job, Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.model.saved import Past
from jobqueued.queue import rates

DEADLINE = Reason(Code.START_DEADLINE)
_MOST_WAITS = 32
UNKEPT = "?"
"""Placeholder in a run's list of waits; it stands for obstacles that were dropped because the list was too long."""


class Bar(Enum):
    """The kinds of obstacles that a due run can have."""

    UNDEFINED = auto()
    PAUSED = auto()
    ACCOUNT_UNKNOWN = auto()
    FLEET = auto()
    """Other hosts must consent, but are unreachable."""
    OUTDATED = auto()
    """Other hosts have a newer definition of the job."""
    TURN = auto()
    """Other hosts may take the occurrence first."""
    AWAITS = auto()
    """The job is a submission that waits for other runs or submissions to end."""
    CONCURRENCY = auto()
    RATE = auto()
    """The job's `rate` allows no further start now."""
    MAX_RUNS = auto()
    DEPENDENCY = auto()
    """A dependency is awaited or has failed; see `Obstacle.verdict`."""


OF_THE_JOB = frozenset(Bar) - {Bar.TURN, Bar.RATE, Bar.MAX_RUNS, Bar.DEPENDENCY}
"""Obstacles that keep all of a job's due runs from the queue."""


class Obstacle(NamedTuple):
    """The obstacle that keeps a due run from the queue."""

    bar: Bar
    verdict: DependencyVerdict | None = None

    @property
    def word(self) -> str:
        """The obstacle in the form that records use, such as ``paused`` or ``dependency backup``."""
        if self.verdict is not None:
            return wait_for_dependency(self.verdict.dependency)
        return self.bar.name.lower()


def obstacle(state: SchedulerState, run: Run, now: Now, left: int | None = None) -> Obstacle | None:
    """Return the obstacle that keeps a due run from the queue, or None if the run may join.

    `left`: the job's `starts_left`, if the caller knows it.
    """
    job = state.catalog.get(run.id.job)
    if job is None:
        return Obstacle(Bar.UNDEFINED)
    if (bar := barred(state, job)) is not None:
        return Obstacle(bar)
    if run.not_before > now.wall:
        return Obstacle(Bar.TURN)
    if state[job.id].under_way >= job.concurrency:
        return Obstacle(Bar.CONCURRENCY)
    left = starts_left(state, job, now) if left is None else left
    if run.so_far is None and left > 0 and state.is_used_up(job):
        return Obstacle(Bar.MAX_RUNS)  # waits until the last starts are reported
    verdict = dependencies.verdict(state, job, run, now)
    if verdict.state is not DependencyStates.MET:
        return Obstacle(Bar.DEPENDENCY, verdict)
    return None if run.so_far is not None or left > 0 else Obstacle(Bar.RATE)


def starts_left(state: SchedulerState, job: Job, now: Now) -> int:
    """Return how many more runs the job's `rate` lets into the queue now; without a rate, any number."""
    if job.rate is None:
        return sys.maxsize
    free = rates.free_starts(job.rate, state[job.id].saved.rate_use, now.wall)
    return free - state.unstarted_in_queue(job.id)


def rate_allows_at(state: SchedulerState, job: Job, now: Now, more: int = 1) -> int:
    """Return when (wall, ns) the job's `rate` allows the starts of the runs in the queue, and of so many more."""
    if job.rate is None:
        return now.wall
    starts = state.unstarted_in_queue(job.id) + more
    return rates.free_at(job.rate, state[job.id].saved.rate_use, now.wall, starts)


def noted(run: Run, wall: int, what: str) -> tuple[tuple[int, str], ...]:
    """Return the run's list of waits, with its current obstacle `what` added; "" means that it waits in the queue.

    If the list is too long, drop some early waits.
    """
    waits = run.waits
    if (waits[-1][1] if waits else "") == what:
        return waits
    kept = waits if len(waits) < _MOST_WAITS else (waits[0], (waits[1][0], UNKEPT), *waits[3:])
    return (*kept, (wall, sys.intern(what)))


def barred(state: SchedulerState, job: Job) -> Bar | None:
    """Return the obstacle that keeps all of a job's runs from the queue, or None if no obstacle exists."""
    if state[job.id].saved.paused:
        return Bar.PAUSED
    if not state.others.can_be_asked(job):
        return Bar.FLEET
    if state.others.has_newer(job):
        return Bar.OUTDATED
    if any(awaited_by(state, job)):
        return Bar.AWAITS
    return Bar.ACCOUNT_UNKNOWN if any(state.accounts_to_look_up(job)) else None


def awaited_by(state: SchedulerState, job: Job) -> Iterator[str]:
    """Yield the runs and submissions that a submission still waits for."""
    if job.submission:
        satisfied = state[job.id].saved.satisfied
        yield from (after.name for after in job.submission.after if after.name not in satisfied)


def promote(turn: Turn, name: str) -> None:
    """Let the due runs of a job join the queue if nothing holds them back; give up runs that can never start."""
    state = turn.state
    job = state.catalog.get(name)
    if job is None:
        return
    if state[name].can_never_run:
        give_up_all(turn, job, Reason(Code.INVALID, why=state.invalid(job)))
    if state.is_completed(job):
        complete(turn, job)
    state.others.skip_all_late(turn, job)
    due, left = [state.runs[run] for run in state[name].due], starts_left(state, job, turn.now)
    for place, run in enumerate(due):
        found = obstacle(state, run, turn.now, left)
        if found is None:
            left -= run.so_far is None
            since, waits = run.since or turn.now.wall, noted(run, turn.now.wall, "")
            state.enqueue(state.step(run, RunStep.QUEUE, since=since, waits=waits), turn.now)
        elif found.bar is Bar.ACCOUNT_UNKNOWN:  # waits until the account is looked up
            return
        elif found.bar in OF_THE_JOB:
            word = found.word
            for held_back in due[place:]:
                if held_back.since or not held_back.waits or held_back.waits[-1][1] != word:
                    _rest(turn, held_back, word)
            return
        elif found.verdict is not None and found.verdict.state is DependencyStates.FAILED:
            give_up(turn, run, found.verdict.reason)
        else:
            _hold_back(turn, run, found)
    if left <= 0:
        _wake_by_rate(turn, job)


def _hold_back(turn: Turn, run: Run, found: Obstacle) -> None:
    """Leave a run due; check it again after the turn of other hosts."""
    if found.bar is Bar.TURN:
        turn.state.timers.after(turn.now.mono + run.not_before - turn.now.wall, run.id)
    _rest(turn, run, found.word)


def _wake_by_rate(turn: Turn, job: Job) -> None:
    """Check the job's due runs again when its `rate` allows one more start, unless a timer fires until then."""
    job_state, now = turn.state[job.id], turn.now
    until = now.mono + rate_allows_at(turn.state, job, now) - now.wall
    if job_state.due and not now.mono < job_state.rate_wakes <= until:
        job_state.rate_wakes = until
        turn.state.timers.after(until, job.id)


def _rest(turn: Turn, run: Run, word: str) -> None:
    """Record the obstacle of a due run, and stop its ageing.

    A due run only ages if it was in the queue when the previous scheduler ended.
    """
    wall = turn.now.wall
    waits = noted(run, wall, word)
    if run.since:
        turn.state.change(run, waited=run.age(wall), since=0, waits=waits)
    elif waits is not run.waits:
        turn.state.change(run, waits=waits)


def give_up_all(turn: Turn, job: Job, reason: Reason) -> None:
    """Give up all of a job's runs that are not live."""
    for run in turn.state[job.id].pending:
        give_up(turn, turn.state.runs[run], reason, job=job)


def complete(turn: Turn, job: Job) -> None:
    """Clear the clock of a job whose `max_runs` have all started, and give up its runs that never started."""
    state = turn.state
    state.due_times.clear(job.id)
    if state[job.id].saved.rhythm:
        state.remember(job.id, rhythm="")
    for run in map(state.runs.__getitem__, sorted([*state[job.id].due, *state[job.id].waiting])):
        if run.so_far is None:
            give_up(turn, run, Reason(Code.MAX_RUNS))


def watch_over(turn: Turn, job: Job, run: Run) -> None:
    """Set the timers of a run that has no live attempt: for its lateness, its start deadline and its dependency
    timeout.
    """
    state, now = turn.state, turn.now
    lateness.watch(turn, run)
    state.timers.forget(state.runs)
    if run.so_far is None and job.start_deadline is not None:
        state.timers.at(planned(state, run) + job.start_deadline, run.id)
    if run.held:
        state.timers.after(now.mono + max(0, run.held + job.dependency_timeout - now.wall), run.id)


def planned(state: SchedulerState, run: Run) -> int:
    """Return when (wall) a run should start: its due time, plus `spread` if the clock made it due."""
    job = state.catalog.get(run.id.job)
    return run.due + (job.offset if job is not None and run.trigger == "schedule" else 0)


def look_at_run(turn: Turn, name: RunId) -> None:
    """Check a run whose timer fired."""
    state = turn.state
    run, job = state.runs.get(name), state.catalog.get(name.job)
    if run is None or job is None or run.state not in PENDING:
        return
    delay = state[name.job].delayed.get(name)
    if is_late(turn, job, run):
        if not state.others.skip_late(turn, job, run):
            give_up(turn, run, DEADLINE)
    elif state.others.is_put_off(run):  # the clock was set back after this host recorded the question
        watch_over(turn, job, state.put_back(run, turn.now))
    elif delay is None:
        state.mark_for_check(name.job)
    elif delay.until <= turn.now.mono:
        _go_on(turn, job, run)


def is_late(turn: Turn, job: Job, run: Run) -> bool:
    """Return whether a run missed its start deadline."""
    deadline = job.start_deadline
    if deadline is None or run.so_far is not None or turn.state.others.has_begun(run):
        return False
    return planned(turn.state, run) + deadline <= turn.now.wall


def _go_on(turn: Turn, job: Job, run: Run) -> None:
    """Queue a run whose delay is over, so that it ages from now on. If an obstacle holds its job back, put the run
    back.
    """
    state, job_state = turn.state, turn.state[job.id]
    if run.state is RunState.RETRYING and run.attempt > most_attempts(job, run) and job.failover is not None:
        run = state.change(run, failover=True)
    if gone := _gone(job, run):
        give_up(turn, run, gone)
    elif job_state.can_never_run:
        give_up(turn, run, Reason(Code.INVALID, why=state.invalid(job)))
    elif (bar := _bar_after_delay(state, job, run, turn.now)) is not None:
        back = state.put_back(run, turn.now)
        state.change(back, waits=noted(back, turn.now.wall, Obstacle(bar).word))
        state.mark_for_check(job.id)
    else:
        queued = state.step(run, RunStep.QUEUE) if run.state is RunState.RETRYING else run
        state.enqueue(queued, turn.now)


def _bar_after_delay(state: SchedulerState, job: Job, run: Run, now: Now) -> Bar | None:
    """Return the obstacle that keeps a run from the queue after its delay, or None if no obstacle exists."""
    if (bar := barred(state, job)) is not None:
        return bar
    if len(state[job.id].waiting) + len(state[job.id].live) >= job.concurrency:
        return Bar.CONCURRENCY
    return Bar.RATE if run.so_far is None and starts_left(state, job, now) <= 0 else None


def retry_asked(turn: Turn, event: RetryAsked) -> None:
    """At a user's request, end the delay before a run's next attempt: the attempt joins the queue now."""
    state, now = turn.state, turn.now
    run, job = state.runs.get(event.run), state.catalog.get(event.run.job)
    delay = state[event.run.job].delayed.get(event.run) if run is not None else None
    if run is None or job is None or delay is None:
        turn.refuse(event.ticket, "Refused", reason=_no_delay(event.run, run))
        return
    asked = {} if run.so_far is None else {"so_far": _retried(run.so_far, event.asked_by)}
    early = max(0, delay.until - now.mono)
    turn.say("retry_asked", run=str(run.id), attempt=run.attempt, early=early / SECOND, asked_by=event.asked_by)
    _go_on(turn, job, state.change(run, not_before=now.wall, **asked))
    left = state.runs.get(run.id)
    end = run.so_far["state"] if left is None and run.so_far is not None else RunState.SKIPPED.value
    turn.reply(
        event.ticket, f"the retry of {run.id} by {event.asked_by}", state=end if left is None else left.state.value
    )


def _no_delay(name: RunId, run: Run | None) -> str:
    """Return why a run has no delay that a user could end, and what the user can do instead."""
    if run is None:
        return f"{name} has ended; to run its job again: jobqueuectl rerun {name}"
    if run.state in LIVE:
        return f"{name} is {run.state.value}; a retry follows only if this attempt fails"
    if run.state is RunState.RETRYING:
        return f"job {name.job} is in no readable job file"
    return f"{name} is waiting for its turn, not for a delay; to see why: jobqueuectl why {name}"


def _retried(so_far: Record, asked_by: str) -> Record:
    """Return a run's record with a note that this user requested an early retry."""
    *before, last = so_far["attempts"]
    return {**so_far, "attempts": [*before, {**last, "retried_by": asked_by}]}


def _gone(job: Job, run: Run) -> Reason | None:
    """Return a reason if the job no longer has the retries or failover for the run's next attempt; otherwise return
    None.
    """
    if run.failover:
        return None if job.failover is not None else Reason(Code.FAILOVER_REMOVED)
    return Reason(Code.FEWER_RETRIES) if run.attempt > most_attempts(job, run) else None


def resume(turn: Turn, name: str, asked_by: str) -> None:
    """Resume a paused job. If the pause has expired and was for all hosts, also end it on the other hosts."""
    if asked_by == UNTIL:
        turn.state.others.end_pause(turn, name)
    turn.state.remember(name, paused=False, paused_until=None, shared_pause="")
    turn.do(SavePast(Past(turn.now.wall, name, "resumed", by=asked_by)))
    lateness.go_on(turn, turn.state[name].pending)
    turn.state.mark_for_check(name)
    turn.say("job_resumed", job=name, asked_by=asked_by)
