"""Update a job's saved values with the record of one more run.

In normal operation, this code updates the counters. If state.db is lost or older than the record files, the code
restores the saved values from these files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from jobqueued.base.instants import STEP_LIMIT, to_instant
from jobqueued.base.replace import changed
from jobqueued.child.contract.documents import ENDS, Record
from jobqueued.child.contract.reasons import Code, fields, more, of, of_record
from jobqueued.core.records.record import extra_cause, owner_of
from jobqueued.core.records.usual import RECENT, middle, noted
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState

if TYPE_CHECKING:  # most importers only read records
    from jobqueued.model.saved import Expected, JobStats, SavedJob


# from a record to its run


_CLOCK = re.compile(r"c(\d{1,18})\.", re.A)


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))


def last_attempt(record: Record) -> int:
    """Return the number of the last attempt in a record, or 0 if it has none."""
    return record["attempts"][-1]["attempt"] if record["attempts"] else 0


def is_final(record: Record) -> bool:
    """Return whether the run of a record is over."""
    return record["state"] in ENDS or record["state"] == RunState.SKIPPED


def is_ahead(record: Record, other: Record) -> bool:
    """Return whether a record has more attempts, or covers more skips, than another record (`other`) of the same
    run.
    """
    return (last_attempt(record), record.get("count", 1)) > (last_attempt(other), other.get("count", 1))


def final(record: Record, why: str) -> Record:
    """Return a record with a final state; for a run between two attempts, use the state of its last attempt."""
    if is_final(record):
        return record
    last = record["attempts"][-1]
    reason = more(of_record(last) or of("None"), no_retry=of(why))
    return cast("Record", {**record, "state": last["state"], **fields(reason)})


def run_of(record: Record) -> Run:
    """Return the ended run of a record."""
    started, last_due, lacked = record["started"], record.get("last_due"), record.get("waited_for")
    given_up = record.get("given_up") if record["state"] == RunState.SKIPPED else None
    return Run(
        id=RunId(record["job"], record["number"]),
        key=record["key"],
        due=_instant(record["due"]),
        queued=_instant(record["queued"]),
        arrival=0,
        trigger=record["trigger"],
        asked_by=record["asked_by"],
        triggered_by=extra_cause(record),
        owner=owner_of(record),
        state=RunState(record["state"]),
        reason=of_record(record),
        attempt=last_attempt(record),
        pid=record["pid"],
        started=None if started is None else _instant(started),
        last_due=None if last_due is None else _instant(last_due),
        count=record.get("count", 1),
        given_up=None if given_up is None else _instant(given_up),
        lacked=tuple(map(str, lacked)) if given_up is not None and isinstance(lacked, list) else (),
    )


# the saved values of a job


def counted(stats: JobStats, run: Run, at: int, record: Record, *, is_last: bool = True) -> JobStats:
    """Return the counters after one more run that was not skipped.

    `at`: the start (wall) to use if the record has none. `is_last`: whether no other run ended later. A run that a user
    or a newer run stopped does not change whether its job is failing.
    """
    succeeded, before = run.state is RunState.SUCCEEDED, stats.fails_since
    by_failover, time = succeeded and has_failover(record), took(record)
    changes: dict[str, Any] = {
        "started": stats.started + 1,
        "succeeded": stats.succeeded + succeeded,
        "failed": stats.failed + (not succeeded),
        "usual": stats.usual if time is None else _mean(stats.usual, time),
    }
    if is_last:
        told = record.get("started")
        started = at if told is None else _instant(told)
        changes |= {"last_run": started, "last_state": run.state, "by_failover": by_failover}
        if succeeded:
            changes |= {"failing_since": None, "failing_run": None, "failing_reason": None}
        elif not _was_deliberate(run, record):
            since, reason = started if before is None else before, record["reason"]
            changes |= {"failing_since": since, "failing_run": run.id.number, "failing_reason": reason}
    return changed(stats, **changes)


def _was_deliberate(run: Run, record: Record) -> bool:
    """Return whether a run was stopped by a user or a newer run."""
    reason = of_record(record)
    return run.state is RunState.KILLED and reason is not None and reason.code in (Code.STOPPED, Code.REPLACED)


def has_failover(record: Record) -> bool:
    """Return whether the last attempt of a run was its failover."""
    return any(attempt.get("failover") for attempt in record.get("attempts", ())[-1:])


def _mean(mean: int | None, took: int) -> int:
    """Return the moving average of durations (ns) with one more duration, whose weight is one quarter."""
    return took if mean is None else (3 * mean + took) // 4


def _of_attempt(record: Record, place: int, name: str) -> int | None:
    attempts = record.get("attempts")
    told = (attempts[place] if attempts else record).get(name)
    return _instant(told) if isinstance(told, str) else None


def began(record: Record) -> int | None:
    """Return when (wall) the first attempt of a run started, or None if it has no attempt or the start is unknown."""
    return _of_attempt(record, 0, "started")


def over(record: Record) -> int | None:
    """Return when (wall) the last attempt of a run ended, or None if it has no attempt or the end is unknown."""
    return _of_attempt(record, -1, "ended")


def took(record: Record) -> int | None:
    """Return the time (ns) from the start of a run's first attempt to the end of its last.

    Return None if this time does not count for the usual duration: the run did not succeed, only its failover
    succeeded, or a time is unknown.
    """
    first, last = began(record), over(record)
    if first is None or last is None or record["state"] != RunState.SUCCEEDED or has_failover(record):
        return None
    return max(0, last - first)


def usual_of(newest_first: Iterable[Record], enough: int = 1) -> int | None:
    """Return the usual duration (ns) of runs from their records, or None if fewer than `enough` records count for
    it.
    """
    known = list(islice((time for record in newest_first if (time := took(record)) is not None), RECENT))
    return middle(known) if len(known) >= enough else None


def learned(saved: SavedJob, run: Run, record: Record, *, waited: bool = True, ran: bool = True) -> dict[str, Any]:
    """Return the changes of a job's saved times after one more ended run.

    `waited`, `ran`: whether the run's wait and duration count for the usual times.
    """
    first, time = began(record), took(record)
    if first is None:
        return {}
    changes = {"delays": noted(saved.delays, first - run.queued)} if waited else {}
    if ran and time is not None:
        changes["took"] = noted(saved.took, time)
    return changes


def succeeded(expected: Expected | None, ended: int) -> Expected | None:
    """Return a job's expectation after one of its runs succeeded, or None if the job has no expectation."""
    return None if expected is None else expected._replace(since=max(expected.since, ended), told=0)


def after(saved: SavedJob, run: Run, record: Record) -> SavedJob:
    """Return a job's saved state after the end of one more run, based only on the run's record."""
    before = up_to(saved, run.id.number - 1)
    ended = _instant(record["ended"] or record["started"] or record["queued"])
    stats, more = before.stats, dict[str, Any]()
    if run.state is RunState.SKIPPED:
        stats = changed(stats, skipped=stats.skipped + run.count)
    else:
        is_last = all(known.ended <= ended for known in before.outcomes)
        stats, more = counted(stats, run, ended, record, is_last=is_last), learned(before, run, record)
    if run.state is RunState.SUCCEEDED:
        more["expected"] = succeeded(before.expected, ended)
    if run.key.startswith("d"):  # this run used up the successes of its dependencies
        more |= {"satisfied": (), "ends": ()}
    return changed(
        before,
        last_number=max(before.last_number, run.id.number),
        stats=stats,
        outcomes=before.outcomes_with(run, ended),
        **_covered(before, run),
        **more,
    )


def up_to(saved: SavedJob, number: int) -> SavedJob:
    """Return a job's saved state with all run numbers up to `number` marked as used.

    The missing numbers belong to unknown runs. The missing runs count as started, so that `max_runs` is not exceeded.
    """
    unknown = number - saved.last_number
    if unknown < 1:
        return saved
    return changed(saved, last_number=number, stats=changed(saved.stats, started=saved.stats.started + unknown))


def _covered(saved: SavedJob, run: Run) -> dict[str, Any]:
    """Return the changes of a job's cursor after a scheduled occurrence; an occurrence of an earlier era changes
    nothing.
    """
    era, due = era_of(run.key), run.due if run.last_due is None else run.last_due
    if era is None or (era, due) <= (saved.era, saved.cursor):
        return {}
    changes: dict[str, Any] = {"era": era, "cursor": due, "previous": 0}
    if era > saved.era:  # the clock was set back: fixed times before the step count as handled
        reached = max(saved.cursor, saved.settled)
        changes["settled"] = reached if due < reached <= due + STEP_LIMIT else 0
    return changes


def era_of(key: str) -> int | None:
    """Return the era in the key of a scheduled occurrence, or None for any other key."""
    found = _CLOCK.match(key)
    return None if found is None else int(found[1])


def way_of(record: Record) -> str:
    """Return the kind of a run's failure, such as ``exit code 3``, without the message."""
    for words, value in (("exit code", record.get("exit_code")), ("signal", record.get("signal"))):
        if record["state"] == RunState.FAILED and value is not None:
            return f"{words} {value}"
    return str(record["state"])


def end_of(record: Record) -> str:
    """Return the end of a run in the fleet's format, such as ``failed exit code 3`` or ``timed_out``."""
    return " ".join(dict.fromkeys([record["state"], way_of(record)]))
