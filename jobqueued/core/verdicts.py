"""Verdicts for all hosts of a fleet: what none of them runs any more is skipped by one, which alone has the record.

That is what was missed while nobody could ask, came due while all had paused the job, or did not start in time.
The fleet is asked as for a run, and the clock of the job, or the run, waits for the answer.  Nothing of it is saved:
whoever begins anew comes to the same, and is granted what was granted before.
"""

from __future__ import annotations

from jobqueued.commands import AskToSkip
from jobqueued.core.fleet_state import Verdict, second_of
from jobqueued.core.lifecycle import Step
from jobqueued.core.turn import Turn
from jobqueued.model import SECOND, Job, Run, RunState


def ask(turn: Turn, job: Job, verdict: Verdict) -> None:
    """Ask the fleet for what a job's clock has come to."""
    turn.state.fleet.verdicts[job.id] = verdict
    _ask(turn, job, verdict.dues[0] // SECOND, verdict.dues[-1] // SECOND)


def ask_of_run(turn: Turn, job: Job, run: Run, reason: str) -> None:
    """Ask the fleet for the occurrence of a run that did not start; while it can't be asked, the run waits for that."""
    state = turn.state
    asked = state.fleet.asked.get(run.id)
    if state.fleet.rests(job) or state.fleet.down or (asked is not None and asked.skip):
        return
    if run.state is RunState.DUE:
        run = state.step(run, Step.QUEUE, since=turn.now.wall)
    state.enqueue(run, turn.now)
    state.leave_queue(run.id)
    state.admission.hold(run.id, (), None)
    state.fleet.ask_to_skip(run, reason)
    _ask(turn, job, second_of(run.key), second_of(run.key))


def _ask(turn: Turn, job: Job, first: int, last: int) -> None:
    turn.do(AskToSkip(job.id, first, last, job.catch_up_window, turn.state.fleet.specs.get(job.id, "")))


def ask_anew(turn: Turn, job: Job) -> None:
    """Ask again for what is to be skipped of a job, as that was not granted."""
    state = turn.state
    if state.fleet.verdicts.pop(job.id, None) is not None:
        state.wind(job)
    asked = [run for run in state[job.id].waiting if run in state.fleet.asked and state.fleet.asked[run].skip]
    for run in sorted(asked, reverse=True):
        state.put_back(state.runs[run], turn.now)
        state.stir(job.id)
