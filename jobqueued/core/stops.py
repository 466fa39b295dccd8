"""Stopping runs: a live one is asked to end, and `stopping` until it has; one that is not live goes no further."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from jobqueued.commands import Command, Reply, SaveRun, Say, Stop
from jobqueued.core.completion import give_up
from jobqueued.core.lifecycle import Step
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.events import StopAsked
from jobqueued.model import PENDING, Now, Run, RunState


def asked(book: SchedulerState, event: StopAsked, now: Now) -> Iterator[Command]:
    """Somebody wants a run to stop; asked again, its supervisor is told again."""
    run = book.runs.get(event.run)
    if run is None:
        yield Reply(event.ticket, {"reason": f"{event.run} has ended"}, "Refused")
        return
    reason = f"stopped by {event.asked_by}"
    if run.state in PENDING:
        yield from give_up(book, run, reason, now, stopped=True)
        state = RunState.SKIPPED if run.so_far is None else RunState.KILLED
        yield Reply(event.ticket, {"state": state.value})
        return
    yield from stop(book, run, reason)
    yield Reply(event.ticket, {"state": RunState.STOPPING.value})


def stop(book: SchedulerState, run: Run, reason: str) -> Iterator[Command]:
    """End a live run; there is no further attempt."""
    if run.state is not RunState.STOPPING:
        yield from stopping(book, replace(run, stop_asked=True), reason)
    elif not run.stop_asked:
        run = book.runs[run.id] = replace(run, stop_asked=True)
        yield SaveRun(run)
    yield Stop(run.id, run.attempt, reason)


def stopping(book: SchedulerState, run: Run, reason: str) -> Iterator[Command]:
    """A live run begins to end, whoever wanted it."""
    stopped = book.step(run, Step.STOP, reason=reason)
    yield SaveRun(stopped)
    yield Say("run_stopping", {"run": str(run.id), "reason": reason})
