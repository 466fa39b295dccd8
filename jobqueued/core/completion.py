"""The end of a run, or of one of its attempts: the record, the counters, who is told, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from jobqueued.commands import Command, SaveJob, SaveRun, Say, WriteRecord
from jobqueued.core import retries
from jobqueued.core.dependencies import note_outcome
from jobqueued.core.lifecycle import ENDS, Step
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.core.skips import skip_run
from jobqueued.model import LIVE, SECOND, Job, Now, Record, Run, RunState
from jobqueued.saved import JobStats


def attempt_ended(book: SchedulerState, run: Run, document: Record, now: Now) -> Iterator[Command]:
    """A live attempt has left its record: the run's end, or another attempt follows."""
    job = book.catalog.get(run.id.job)
    step = ENDS[document["state"]]  # KeyError, and nothing changed, where no attempt can end so
    again = None if job is None or run.stop_asked else retries.another(job, run, document)
    if again is None:
        yield from finish(book, run, step, document, now)
        return
    waiting = book.step(
        run, Step.RETRY, reason=document.get("reason"), attempt=run.attempt + 1, failover=again.failover, pid=None,
        failures=0, not_before=now.wall + again.delay, since=0, waited=0, so_far=document,
        claims=(), placed=(), ends_by=None,
    )  # fmt: skip
    book.release(run, now)
    book.put_later(waiting, now)
    yield SaveRun(waiting)
    yield WriteRecord({**document, "state": RunState.RETRYING.value})
    yield Say("run_retrying", {"record": document, "again_in": again.delay / SECOND, "failover": again.failover})


def finish(book: SchedulerState, run: Run, step: Step, document: Record, now: Now) -> Iterator[Command]:
    """The end of a run, whose last attempt left `document`."""
    if run.failover and step is Step.SUCCEED:
        document = {**document, "reason": "by its failover"}
    ended = book.step(run, step, reason=document.get("reason"), pid=document.get("pid"), so_far=None)
    if run.state in LIVE:
        book.release(run, now)
    book.drop(run.id)
    state = book[run.id.job]
    state.memory = replace(state.memory, stats=_counted(state.memory.stats, ended, document, now))
    note_outcome(book, ended, now)
    yield SaveRun(ended, document)
    yield SaveJob(state.memory)
    if run.failover:
        yield WriteRecord(document)
    yield Say("run_ended", {"record": document})


def give_up(
    book: SchedulerState, run: Run, reason: str, now: Now, *, stopped: bool = False, job: Job | None = None
) -> Iterator[Command]:
    """A run without a live attempt goes no further: skipped where it never started, else it ends as it was left.

    `stopped`: by a person, so its end is `killed`.  `job`: as it was, if it is not in the catalog any more.
    """
    if run.so_far is None:
        yield from skip_run(book, run, reason, now, job or book.catalog.get(run.id.job))
        return
    state = RunState.KILLED.value if stopped else run.so_far["state"]
    text = reason if stopped else f"{run.so_far['reason']}; not tried again: {reason}"
    document = {**run.so_far, "state": state, "reason": text}
    yield from finish(book, run, ENDS[state], document, now)
    yield WriteRecord(document)


def _counted(stats: JobStats, run: Run, document: Record, now: Now) -> JobStats:
    succeeded = run.state is RunState.SUCCEEDED
    return replace(
        stats, started=stats.started + 1, succeeded=stats.succeeded + succeeded, failed=stats.failed + (not succeeded),
        last_run=run.started if run.started is not None else now.wall, last_state=run.state,
        usual=_usual(stats.usual, document) if succeeded else stats.usual,
    )  # fmt: skip


def _usual(usual: int | None, document: Record) -> int | None:
    """How long a run takes, now that one more has succeeded."""
    if not document.get("attempts"):
        return usual
    attempt = document["attempts"][-1]
    if not (attempt.get("started") and attempt.get("ended")):
        return usual
    started, ended = (datetime.fromisoformat(attempt[name]) for name in ("started", "ended"))
    took = max(0, round((ended - started).total_seconds() * SECOND))
    return took if usual is None else (3 * usual + took) // 4
