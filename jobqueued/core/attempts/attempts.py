"""Attempts, from launch to end: handlers of the reports of supervisors and the launcher.

A report about an attempt that is not its run's live attempt is late and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobqueued.base.instants import SECOND, to_text
from jobqueued.base.replace import changed
from jobqueued.child.contract import reasons
from jobqueued.child.contract.documents import ENDS
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.due import clock
from jobqueued.core.late import lateness
from jobqueued.core.records import lifecycle, record
from jobqueued.core.records.lifecycle import RunStep
from jobqueued.core.records.wishes import wishes
from jobqueued.core.runs.completion import attempt_ended, give_up, stopping
from jobqueued.core.runs.eligibility import Bar, Obstacle, barred, noted, planned, watch_over
from jobqueued.core.state.turn import Turn
from jobqueued.model import events
from jobqueued.model.commands import Launch, LookAfter, NoteWhole, RemoveMarks, Stop, WriteRecord
from jobqueued.model.fleet import NO_GRANT, Grant
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, RunState, Unstarted

BACKOFF_MAX = 60 * SECOND


def launch(turn: Turn, run: Run) -> None:
    """Launch an admitted run, or first request other hosts' consent if the run needs it."""
    state, now = turn.state, turn.now
    if is_kept_back(turn, run):
        return
    job = state.catalog[run.id.job]
    priority = round(state.admission.waiting.priority(run.id, now.mono), 3)
    waited_for = list(lateness.lacked(state, run, job.owner))
    if reason := state.others.refusal(job, run):
        give_up(turn, run, reason)
    elif not state.others.ask(turn, run, priority, waited_for):
        begin(turn, run, priority, waited_for)


def is_kept_back(turn: Turn, run: Run) -> bool:
    """Put a run back if runs that are about to start may use up its job's `max_runs`; return whether it was put
    back.
    """
    state, now = turn.state, turn.now
    if run.so_far is not None or not state.is_used_up(state.catalog[run.id.job]):
        return False
    back = state.put_back(run, now)  # waits until those starts are reported
    state.change(back, waits=noted(back, now.wall, Obstacle(Bar.MAX_RUNS).word))
    return True


def begin(turn: Turn, run: Run, priority: float, waited_for: list[str], grant: Grant = NO_GRANT) -> None:
    """Launch an admitted run; `priority` is its effective priority in the queue."""
    state, job = turn.state, turn.state.catalog[run.id.job]
    if run.so_far is None:  # the first attempt uses the newest definition
        run = changed(run, owner=job.owner)
    started = state.admit(changed(run, wishes=wishes(job)), turn.now)
    begun = record.begin(started, job, state.limits)
    turn.do(Launch(started, job, {**begun, "effective_priority": priority, "waited_for": waited_for}, grant))


def _live(turn: Turn, run: RunId, attempt: int) -> Run | None:
    """Return the run whose live attempt this is, or None if the attempt is not live."""
    found = turn.state.runs.get(run)
    return found if found is not None and found.attempt == attempt and found.state in LIVE else None


def started(turn: Turn, event: events.RunStarted) -> None:
    """Handle the report that an attempt's process exists."""
    run = _live(turn, event.run, event.attempt)
    if run is None:
        return
    known = run.pid is not None
    after_due = _lateness(turn, run, event.started)
    run = turn.state.step(run, RunStep.START, pid=event.pid, started=event.started, doubted=False)
    lateness.watch(turn, run)
    if not known:
        turn.say("run_started", run=str(run.id), pid=run.pid, **after_due)
        turn.state.mark_for_check(run.id.job)
    if run.state is RunState.STOPPING:  # its supervisor may have missed the stop order
        turn.do(Stop(run.id, run.attempt, run.reason or ""))


def _lateness(turn: Turn, run: Run, started: int) -> dict[str, Any]:
    """Return a log field: how late a first attempt started (ns), or the number of a later attempt."""
    if run.so_far is not None:
        return {"attempt": run.attempt, "failover": run.failover}
    return {"late": max(0, started - planned(turn.state, run))}


def stops(turn: Turn, event: events.RunStopping) -> None:
    """Handle the report that a supervisor is stopping its attempt."""
    run = _live(turn, event.run, event.attempt)
    if run is not None and run.state is not RunState.STOPPING:
        stopping(turn, run, reasons.of(event.reason))


def ended(turn: Turn, event: events.RunEnded) -> None:
    """Handle the record of an attempt that ended.

    Raises ValueError, and changes nothing, if the record's state is not final.
    """
    run = _live(turn, event.run, event.attempt)
    if run is not None:
        if (found := event.record.get("state")) not in ENDS:
            raise ValueError(f"the record of {event.run} has no end: its state is {found!r}")
        attempt_ended(turn, run, event.record if "reason" in event.record else {**event.record, "reason": None})
    turn.do(RemoveMarks(event.run, event.attempt, known=run is None))


def lost(turn: Turn, event: events.RunLost) -> None:
    """End an attempt whose supervisor exited. Its record gets the state `lost`, because the attempt may have run."""
    state = turn.state
    run = _live(turn, event.run, event.attempt)
    if run is not None:
        lost = changed(run, state=lifecycle.after(run.state, RunStep.LOSE), reason=reasons.of(event.reason))
        job = state.catalog.get(run.id.job)
        document = record.lost(lost, job, state.limits, event.wait_status, event.output)
        document["given_up"] = to_text(turn.now.wall)
        if event.telemetry is not None:
            document["telemetry"] = event.telemetry
        attempt_ended(turn, run, document)
        if run.id not in state.runs:
            turn.do(WriteRecord(document))
    turn.do(RemoveMarks(event.run, event.attempt, known=run is None))


def lingers(turn: Turn, event: events.RunLingers) -> None:
    """Let a run whose supervisor exited keep its claims while its processes may still be alive."""
    run = _live(turn, event.run, event.attempt)
    if run is None:
        return
    turn.state.step(run, RunStep.STOP, reason=reasons.of(event.reason))
    if run.id not in turn.state.lingering:
        turn.say("run_lingers", run=str(run.id), reason=event.reason)
    turn.state.lingering[run.id] = event.reason


def left_behind(turn: Turn, event: events.LeftBehind) -> None:
    """Count a user's ended attempt as live while processes that it left are alive; then check its output."""
    if turn.state.admission.note_left(event.run, event.attempt, over=event.over) and event.over:
        turn.state.queue_stuck = False
        turn.do(LookAfter(event.run.job, event.output))


def runs_emptied(turn: Turn, _event: events.RunsEmptied) -> None:
    """Mark as doubtful all starts that no supervisor has reported, because their run directories may have been
    removed.
    """
    for run in list(turn.state.runs.values()):
        if run.state in LIVE and run.pid is None and not run.doubted:
            turn.state.change(run, doubted=True)
    turn.do(NoteWhole())


def lost_asked(turn: Turn, event: events.LostAsked) -> None:
    """At a user's request, end an attempt whose supervisor exited while its processes may still be alive."""
    over = event.over
    if over.run not in turn.state.lingering:
        turn.refuse(event.ticket, "Refused", reason=f"{over.run} is not lost")
        return
    match over:
        case events.RunEnded():
            ended(turn, over)
        case events.RunLost():
            lost(turn, over)
        case events.NeverStarted():
            never_started(turn, over)
    again = turn.state.runs.get(over.run)
    turn.reply(event.ticket, f"the end of {over.run}", state=(RunState.LOST if again is None else again.state).value)


def never_started(turn: Turn, event: events.NeverStarted) -> None:
    """Resend an attempt that certainly never started: at once if nothing failed, otherwise after 1 s, 2 s, … up to 60
    s.
    """
    state, now = turn.state, turn.now
    run = _live(turn, event.run, event.attempt)
    if run is not None and run.pid is not None:
        lost(turn, events.RunLost(event.run, event.attempt, Reason(Code.START_NOT_RECORDED)))
        return
    turn.do(RemoveMarks(event.run, event.attempt, again=True))
    if run is None:
        return
    pause, failures = _pause(run, event.cause)
    back = state.step(
        run,
        RunStep.RETURN,
        not_before=now.wall + pause,
        failures=failures,
        pid=None,
        claims=(),
        placed=(),
        ends_by=None,
        reason=reasons.of(event.reason) if event.reason else run.reason,
    )
    state.release(run, now)
    state.return_start(run)
    back = _return(turn, back, pause, event.cause)
    if failures != run.failures:
        turn.say("run_returned", run=str(run.id), reason=event.reason, again_in=pause / SECOND)
    if run.stop_asked:
        give_up(turn, back, run.reason or reasons.of(""), stopped=True)
    elif run.id.job not in state.catalog and state.complete:
        give_up(turn, back, Reason(Code.JOB_REMOVED_WHILE_STARTING))


def _return(turn: Turn, run: Run, pause: int, cause: Unstarted) -> Run:
    """Put back a run that did not start: delay it for `pause`, or add it to the queue or to its job's due runs."""
    state, now = turn.state, turn.now
    job = state.catalog.get(run.id.job)
    state.mark_for_check(run.id.job)
    if pause or job is None:
        run = changed(run, waits=noted(run, now.wall, "start"))
        state.delay(run, now, cause)
        return run
    back = state.enqueue(run, now) if barred(state, job) is None else state.put_back(run, now)
    watch_over(turn, job, back)
    return back


def _pause(run: Run, cause: Unstarted) -> tuple[int, int]:
    """Return the pause (ns) before an attempt is resent, and its number of failed starts (at least 1 if a path is
    busy).
    """
    if cause is Unstarted.NO_FAULT:
        return 0, run.failures
    if cause is Unstarted.PATH_BUSY:
        return SECOND, max(run.failures, 1)
    return min(BACKOFF_MAX, SECOND << min(run.failures, 6)), run.failures + 1


def found(turn: Turn, event: events.Found) -> None:
    """Count an attempt as launched although the commit of its launch failed and its run's row does not show the launch.

    If the run has no row, also mark its number and occurrence as used.
    """
    state = turn.state
    row = state.runs.get(event.run)
    if row is None:
        _use(turn, event)
    elif event.attempt < max(1, row.attempt) or (row.state in LIVE and event.attempt == row.attempt):
        return
    wall = turn.now.wall
    sent = event.sent or row or Run(id=event.run, key="", due=wall, queued=wall, arrival=0, trigger="unknown")
    known = row or changed(sent, arrival=state.arrival())
    job = state.catalog.get(event.run.job)
    run = changed(
        known,
        state=lifecycle.after(known.state, RunStep.FIND),
        attempt=event.attempt,
        failover=sent.failover,
        claims=sent.claims,
        placed=sent.placed,
        ends_by=sent.ends_by,
        so_far=sent.so_far,
        owner=sent.owner,
        pid=None,
        started=None,
        reason=None,
        drains_since=0,
        wishes=known.wishes if job is None else wishes(job),
    )
    if job is not None:
        state.use_start(job, run, turn.now)
    state.put_live(run, turn.now)


def recorded(turn: Turn, event: events.Recorded) -> None:
    """Prevent the cause of a recorded run from making a second run due."""
    _keep_from_coming_again(turn, event.run)


def _keep_from_coming_again(turn: Turn, run: Run) -> None:
    """Prevent each cause of a run, including each end that the run waited for, from making a second run due."""
    ends: Iterable[str] = (run.triggered_by or {}).get("ends", ()) if run.key.startswith("d") else ()
    turn.state.found.setdefault(run.id.job, {}).update(dict.fromkeys((run.key, *(f"d{end}" for end in ends)), run))


def _use(turn: Turn, event: events.Found) -> None:
    """Mark a run's number as used, and also its occurrence if the event contains it."""
    state, name = turn.state, event.run.job
    saved, sent = state[name].saved, event.sent
    state.remember(name, last_number=max(saved.last_number, event.run.number))
    if sent is not None:
        _keep_from_coming_again(turn, sent)
        if name not in state.submitted:  # this run used up the saved successes
            state.remember(name, satisfied=(), ends=())
        if sent.trigger.startswith("path "):
            state.remember(name, appeared=max(saved.appeared, sent.queued))
        if state.loaded:
            clock.cover(turn, name)
