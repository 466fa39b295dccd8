"""What will not run, and the record that says why.  Consecutive skips of one job, made due by the same and for one
reason, share a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from jobqueued.commands import Command, SaveJob, SaveRun, Say, WriteRecord
from jobqueued.core import lifecycle, record
from jobqueued.core.dependencies import note_outcome
from jobqueued.core.lifecycle import Step
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.model import Job, Now, Occurrence, Run


class Cause(NamedTuple):
    """What made an occurrence: its trigger, and the person behind it, if any."""

    trigger: str = "schedule"
    asked_by: str | None = None


CLOCK = Cause()


def skip(
    book: SchedulerState, job: Job, occurrences: list[Occurrence], reason: str, now: Now, cause: Cause = CLOCK
) -> Iterator[Command]:
    """Occurrences that never become runs."""
    state, last = book[job.id], occurrences[-1].due
    run = state.skip
    if run is not None and (run.reason, run.trigger, run.asked_by) == (reason, *cause):
        run = replace(run, last_due=last, count=run.count + len(occurrences))
    else:
        run = book.number(occurrences[0], now.wall, *cause)
        skipped = lifecycle.after(run.state, Step.SKIP)
        run = replace(run, state=skipped, reason=reason, last_due=last, count=len(occurrences))
    state.skip = run
    yield from _skipped(book, run, job, len(occurrences), now)


def skip_run(book: SchedulerState, run: Run, reason: str, now: Now, job: Job | None) -> Iterator[Command]:
    """A run that was due or waiting and will not start."""
    skipped = book.step(run, Step.SKIP, reason=reason)
    book.drop(run.id)
    yield from _skipped(book, skipped, job, 1, now)


def _skipped(book: SchedulerState, run: Run, job: Job | None, count: int, now: Now) -> Iterator[Command]:
    state = book[run.id.job]
    note_outcome(book, run, now)
    stats = state.memory.stats
    state.memory = replace(state.memory, stats=replace(stats, skipped=stats.skipped + count))
    document = record.skipped(run, job, book.host)
    yield SaveRun(run, document)
    yield SaveJob(state.memory)
    yield WriteRecord(document)
    last = run.due if run.last_due is None else run.last_due
    yield Say("run_skipped", {"run": str(run.id), "reason": run.reason, "due": last, "count": run.count})
