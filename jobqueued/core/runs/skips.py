"""Skips: occurrences that will not run, and their records, which contain the reasons.

Each caller passes its reason, with a `Code` from `child/contract/reasons.py`.

Consecutive skips of a job with the same cause and reason share a record, but only within an era of the clock. This is
because a record has the era of its first due time. If its last due time were in a later era, the scheduler would
restart this later era after a loss of state.db.
"""

from __future__ import annotations

from typing import Any

from jobqueued.base.replace import changed
from jobqueued.child.contract.documents import TriggeredBy
from jobqueued.child.contract.reasons import Reason
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.late import lateness
from jobqueued.core.records import lifecycle, record
from jobqueued.core.records.lifecycle import RunStep
from jobqueued.core.runs.dependencies import note_outcome
from jobqueued.core.state.turn import Turn
from jobqueued.model.commands import WriteRecord
from jobqueued.model.job import Job, Occurrence
from jobqueued.model.run import Run


class Cause(NamedTuple):
    """The cause of an occurrence: its trigger, the user who requested it, if any, and details for the run."""

    trigger: str = "schedule"
    asked_by: str | None = None
    triggered_by: TriggeredBy | None = None


CLOCK = Cause()


def skip(turn: Turn, job: Job, occurrences: list[Occurrence], reason: Reason, cause: Cause = CLOCK) -> Run:
    """Skip occurrences that have no run yet; return the skip, a run that represents them."""
    state, last = turn.state[job.id], occurrences[-1].due
    run = state.skip
    is_like = run is not None and reason.is_same(run.reason) and (run.trigger, run.asked_by) == cause[:2]
    if run is not None and is_like and run.owner == job.owner and era(run.key) == era(occurrences[0].key):
        run = changed(run, last_due=last, count=run.count + len(occurrences))
    else:
        run = turn.state.number(occurrences[0], turn.now.wall, **cause._asdict())
        skipped = lifecycle.after(run.state, RunStep.SKIP)
        run = changed(run, state=skipped, reason=reason, last_due=last, count=len(occurrences))
    state.skip = run
    _skipped(turn, run, job, occurrences[0].due, len(occurrences))
    return run


def skip_run(turn: Turn, run: Run, reason: Reason, job: Job | None, *, joins: bool) -> None:
    """Skip a due or waiting run.

    With `joins`, a preceding skip for the same reason covers the run, so that the run gets no record.
    """
    state = turn.state[run.id.job]
    is_newest = run.id.number == state.saved.last_number
    known = _like(state.preceding, run, reason) if joins and is_newest else None
    wait = _given_up(turn, run, known)
    if known is None:
        skipped = turn.state.step(run, RunStep.SKIP, reason=reason, **wait)
    else:
        skipped = changed(known, last_due=run.due, count=known.count + 1, **wait)
        turn.state.forget(run, record.skipped(skipped, job, turn.state.limits))
    if is_newest:
        state.skip = skipped
    _skipped(turn, skipped, job, run.due, 1)
    lateness.over(turn, changed(run, state=skipped.state, reason=reason))


def _given_up(turn: Turn, run: Run, known: Run | None) -> dict[str, Any]:
    """Return the fields that describe the wait of a run that is given up; a shared record describes the wait of its
    last run.
    """
    if known is not None and known.given_up is not None and turn.now.wall <= run.queued:
        return {}
    return {"given_up": turn.now.wall, "lacked": lateness.lacked(turn.state, run, run.owner), "waits": run.waits}


def _like(preceding: Run | None, run: Run, reason: Reason) -> Run | None:
    """Return the preceding skip if it can cover this run: the reason is the same, and the run is scheduled, was never
    launched and is not older than the skip. Otherwise return None.
    """
    if preceding is None or run.trigger != CLOCK.trigger or run.attempt:
        return None
    if run.due < (preceding.last_due or preceding.due):  # another host gave it back
        return None
    known, this = ((it.trigger, era(it.key), it.owner) for it in (preceding, run))
    is_like = reason.is_same(preceding.reason) and known == this
    return preceding if is_like else None


def era(key: str) -> str:
    """Return the part of a scheduled occurrence's key that contains the era, or "" for any other key."""
    return key.partition(".")[0] if key.startswith("c") else ""


def _skipped(turn: Turn, run: Run, job: Job | None, first: int, count: int) -> None:
    """Save and log a skip (`run`) to which `count` occurrences were added; the first of these occurrences was due at
    `first`.
    """
    state, name = turn.state, run.id.job
    document = record.skipped(run, job, state.limits)
    state.close(run, document)
    note_outcome(turn, run)
    stats = state[name].saved.stats
    state.remember(name, stats=changed(stats, skipped=stats.skipped + count))
    turn.do(WriteRecord(document))
    last = run.due if run.last_due is None else run.last_due
    turn.say(
        "run_skipped",
        job=name,
        first_run=str(run.id),
        run=str(run.id),
        reason=run.reason,
        first=first,
        due=last,
        times=count,
        count=run.count,
    )
