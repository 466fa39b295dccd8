"""Stopping runs: a live one is asked to end, and `stopping` until it has; one that has not started never will."""

from __future__ import annotations

from collections.abc import Iterator

from jobqueued.book import Book
from jobqueued.commands import Command, Reply, SaveRun, Say, Stop
from jobqueued.events import StopAsked
from jobqueued.lifecycle import Step
from jobqueued.model import UNSTARTED, Run, RunState
from jobqueued.skips import skip_run


def asked(book: Book, event: StopAsked) -> Iterator[Command]:
    """Somebody wants a run to stop; asked again, its supervisor is told again."""
    run = book.runs.get(event.run)
    if run is None:
        yield Reply(event.ticket, {"reason": f"{event.run} has ended"}, "Refused")
        return
    reason = f"stopped by {event.asked_by}"
    if run.state in UNSTARTED:
        yield from stopped_before_its_start(book, run, reason)
        yield Reply(event.ticket, {"state": RunState.SKIPPED.value})
        return
    if run.state is not RunState.STOPPING:
        yield from stopping(book, run, reason)
    yield Stop(run.id, run.attempt, reason)
    yield Reply(event.ticket, {"state": RunState.STOPPING.value})


def stopping(book: Book, run: Run, reason: str) -> Iterator[Command]:
    """A live run begins to end, whoever wanted it."""
    stopped = book.step(run, Step.STOP, reason=reason)
    yield SaveRun(stopped)
    yield Say("run_stopping", {"run": str(run.id), "reason": reason})


def stopped_before_its_start(book: Book, run: Run, reason: str) -> Iterator[Command]:
    """A run that has not started is skipped; its place in the job's `concurrency` is the next one's."""
    yield from skip_run(book, run, reason, book.catalog.get(run.id.job))
    book.promote(run.id.job)
