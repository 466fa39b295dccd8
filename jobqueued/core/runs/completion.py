"""The end of a run: after a live attempt ends or is stopped, another attempt follows or the run is over.

When a run is over, its record and counters are saved, people are notified, and other jobs react to the end.
"""

from __future__ import annotations

from typing import Any, cast

from jobqueued.base.instants import SECOND, to_text
from jobqueued.base.replace import changed
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Code, Reason, fields, more, of, of_record
from jobqueued.core.late import expectation, lateness
from jobqueued.core.records.lifecycle import ENDS, RunStep
from jobqueued.core.records.recollection import counted, has_failover, learned, over
from jobqueued.core.records.wishes import removed_job
from jobqueued.core.runs import retries
from jobqueued.core.runs.dependencies import note_outcome
from jobqueued.core.runs.skips import skip_run
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import Stop, WriteRecord
from jobqueued.model.events import StopAsked
from jobqueued.model.job import Job
from jobqueued.model.run import Run
from jobqueued.model.run_states import LIVE, PENDING, RunState


def attempt_ended(turn: Turn, run: Run, document: Record) -> None:
    """Handle the record of a live attempt: the run ends, or waits for another attempt."""
    state = turn.state
    job = state.catalog.get(run.id.job)
    step = ENDS[document["state"]]
    again = None if job is None or run.stop_asked else retries.another(job, run, document)
    if again is None:
        finish(turn, run, step, document)
        return
    retrying = state.step(
        run,
        RunStep.RETRY,
        reason=of_record(document),
        attempt=run.attempt + 1,
        failover=again.failover,
        pid=None,
        failures=0,
        not_before=turn.now.wall + again.delay,
        since=0,
        waited=0,
        so_far=document,
        claims=(),
        placed=(),
        ends_by=None,
    )
    if run.state in LIVE:
        state.release(run, turn.now)
    state.delay(retrying, turn.now)
    turn.do(WriteRecord({**document, "state": RunState.RETRYING.value}))
    turn.say("run_retrying", record=document, again_in=again.delay / SECOND, failover=again.failover)


def finish(turn: Turn, run: Run, step: RunStep, document: Record) -> None:
    """End a run; `document` is the record after its last attempt."""
    state, name = turn.state, run.id.job
    by_failover = step in _OF_FAILOVERS and has_failover(document)
    if by_failover:
        document = _of_failover(document)
    ended = state.step(run, step, reason=of_record(document), pid=document.get("pid"), so_far=None)
    if run.state in LIVE:
        state.release(run, turn.now)
    times = _learned(state, ended, document)
    state.close(ended, document)
    started = turn.now.wall if ended.started is None else ended.started
    state.remember(name, stats=counted(state[name].saved.stats, ended, started, document), **times)
    end = min(over(document) or turn.now.wall, turn.now.wall)
    note_outcome(turn, ended, None if state.loaded else end)
    state.agenda.follow(ended, document)
    if by_failover:
        turn.do(WriteRecord(document))
    removed = None if name in state.catalog else removed_job(document, run.wishes)
    turn.say("run_ended", removed, record=document)
    lateness.over(turn, ended)
    if ended.state is RunState.SUCCEEDED:
        expectation.succeeded(turn, name, end, str(ended.id))


def _learned(state: SchedulerState, run: Run, document: Record) -> dict[str, Any]:
    """Return the changes of the job's usual times, including this run's wait and duration if they count."""
    waited, ran = lateness.has_waited(state, run), run.id not in state.lateness.set_back
    return learned(state[run.id.job].saved, run, document, waited=waited, ran=ran)


_OF_FAILOVERS = (RunStep.SUCCEED, RunStep.FAIL, RunStep.TIME_OUT, RunStep.OOM_KILL)


def _of_failover(document: Record) -> Record:
    """Return the record of a run whose last attempt was its failover; its reason includes the previous attempt's
    reason.
    """
    before = next((of_record(attempt) for attempt in document["attempts"][-2:-1]), None)
    if document["state"] == RunState.SUCCEEDED:
        return cast("Record", {**document, **fields(Reason(Code.BY_FAILOVER, before=before))})
    return cast("Record", {**document, **fields(more(of_record(document) or of("None"), before=before))})


def give_up(turn: Turn, run: Run, reason: Reason, *, stopped: bool = False, job: Job | None = None) -> None:
    """End a run that has no live attempt.

    A run that never started is skipped. Any other run ends with the state of its last attempt, or as killed if a user
    stopped it (`stopped`). `job`: the last definition of a job that is no longer in the catalog.
    """
    if run.so_far is None:
        skip_run(turn, run, reason, job or turn.state.catalog.get(run.id.job), joins=not stopped)
        return
    state = RunState.KILLED.value if stopped else run.so_far["state"]
    told = reason if stopped else more(of_record(run.so_far) or of("None"), no_retry=reason)
    changes = {"state": state, **fields(told), "given_up": to_text(turn.now.wall)}
    document = cast("Record", {**run.so_far, **changes})
    finish(turn, run, ENDS[state], document)
    turn.do(WriteRecord(document))


def stop_asked(turn: Turn, event: StopAsked) -> None:
    """Stop a run for a user. If the user repeats the request, resend the stop order to the supervisor."""
    run = turn.state.runs.get(event.run)
    if run is None:
        turn.refuse(event.ticket, "Refused", reason=f"{event.run} has ended")
        return
    if (lingers := turn.state.lingering.get(run.id)) is not None:
        turn.refuse(event.ticket, "Refused", reason=f"{event.run}: {lingers}")
        return
    reason, asked = Reason(Code.STOPPED, by=event.asked_by), f"the stop of {run.id} by {event.asked_by}"
    if run.state in PENDING:
        give_up(turn, run, reason, stopped=True)
        ended = RunState.SKIPPED if run.so_far is None else RunState.KILLED
        turn.reply(event.ticket, asked, state=ended.value)
        return
    stop(turn, run, reason)
    turn.reply(event.ticket, asked, state=RunState.STOPPING.value)


def stop(turn: Turn, run: Run, reason: Reason) -> None:
    """Stop a live run; no other attempt follows."""
    if run.state is not RunState.STOPPING:
        stopping(turn, changed(run, stop_asked=True), reason)
    elif not run.stop_asked:
        turn.state.change(run, stop_asked=True)
    turn.do(Stop(run.id, run.attempt, reason))


def stopping(turn: Turn, run: Run, reason: Reason) -> None:
    """Record that a live run is stopping, and the reason."""
    turn.state.step(run, RunStep.STOP, reason=reason)
    turn.say("run_stopping", run=str(run.id), reason=reason)
