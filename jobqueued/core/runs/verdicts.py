"""Verdicts for all hosts of a fleet: one host skips an occurrence that no host will run, and keeps the record of the
skip.

The skipped occurrence was missed while the fleet was unreachable, was due during a pause on all hosts, or did not start
in time. This host requests the skip from the fleet as it would request a run. Until the answer, the job's clock or the
run waits. Questions are not saved; after a restart, the host repeats the question and gets the same grant.
"""

from __future__ import annotations

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.reasons import Reason
from jobqueued.core.hosts.fleet_state import SkipWish, second_of
from jobqueued.core.hosts.memory import looks_back
from jobqueued.core.records.lifecycle import RunStep
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import AskToSkip
from jobqueued.model.job import Job
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState

_LEAST = SECOND // 2
"""Minimum time (ns) in which all hosts take their turns, however near the next occurrence is."""


def ask(turn: Turn, job: Job, verdict: SkipWish, period: int | None) -> None:
    """Ask the fleet whether this host may skip due times for all hosts, after the hosts that come first.

    `period`: the time to the next occurrence (ns), or None. The turns of all hosts take only a part of this time,
    because no run of the job starts here during the turns, so more occurrences may be missed.
    """
    within = None if period is None else max(_LEAST, period // 4)
    is_first = job.id in turn.state.fleet.leading
    wait = 0 if is_first else _turn_of(turn, job, f"f{verdict.dues[-1] // SECOND}", within)
    turn.state.fleet.verdicts[job.id] = verdict._replace(asks_at=turn.now.mono + wait)
    turn.state.timers.after(turn.now.mono + wait, job.id)
    look(turn, job.id)


def look(turn: Turn, name: str) -> None:
    """Request a job's skips from the fleet if the hosts that come first have had their turn."""
    verdicts, job = turn.state.fleet.verdicts, turn.state.catalog.get(name)
    verdict = verdicts.get(name)
    if job is not None and verdict is not None and _is_over(turn, verdict.asks_at):
        verdicts[name] = verdict._replace(asks_at=None)
        _ask(turn, job, verdict.dues[0] // SECOND, verdict.dues[-1] // SECOND)


def decide_here(turn: Turn, job: Job) -> None:
    """Stop waiting for an answer about a job that is about to change.

    If this host has not asked the fleet yet, it asks now, so that the other hosts get the skip.
    """
    verdict = turn.state.fleet.verdicts.pop(job.id, None)
    if verdict is not None and verdict.asks_at is not None:
        _ask(turn, job, verdict.dues[0] // SECOND, verdict.dues[-1] // SECOND)


def ask_of_run(turn: Turn, job: Job, run: Run, reason: Reason) -> None:
    """Ask the fleet whether this host may skip a run for all hosts, after the hosts that come first.

    The run did not start in time. The run waits for the answer, even if the fleet is still unreachable.
    """
    state = turn.state
    if state.fleet.rests(job) or state.fleet.down:
        return
    asked = state.fleet.asked.get(run.id)
    if asked is None or not asked.skip:
        if run.state is RunState.DUE:
            run = state.step(run, RunStep.QUEUE, since=turn.now.wall)
        state.enqueue(run, turn.now)
        state.leave_queue(run.id)
        state.admission.hold(run.id, (), None)
        following = state.due_times.next(job.id)
        left = None if following is None else max(0, following - turn.now.wall) // 4
        at = turn.now.mono + _turn_of(turn, job, run.key, left)
        state.fleet.ask_to_skip(run, reason, at)
        state.timers.after(at, run.id)
    asked = state.fleet.asked[run.id]
    if _is_over(turn, asked.asks_at):
        state.fleet.asked[run.id] = asked._replace(asks_at=None)
        _ask(turn, job, second_of(run.key), second_of(run.key))


def _turn_of(turn: Turn, job: Job, key: str, within: int | None) -> int:
    return turn.state.fleet.turn_of(turn.state.limits.name, job, key, within)


def _is_over(turn: Turn, asks_at: int | None) -> bool:
    return asks_at is not None and asks_at <= turn.now.mono


def _ask(turn: Turn, job: Job, first: int, last: int) -> None:
    turn.do(AskToSkip(job.id, first, last, looks_back(job), turn.state.fleet.definition(job.id)))


def ask_anew(turn: Turn, job: Job) -> None:
    """Re-request a job's skips, because the fleet did not grant them."""
    state = turn.state
    if state.fleet.verdicts.pop(job.id, None) is not None:
        state.set_clock(job)
    asked = [run for run in state[job.id].waiting if run in state.fleet.asked and state.fleet.asked[run].skip]
    for run in sorted(asked, reverse=True):
        state.put_back(state.runs[run], turn.now)
        state.mark_for_check(job.id)
