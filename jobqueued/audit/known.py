"""The facts that explain what a job did at an instant, the audit's answer, and the periods of attempts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobqueued.base.instants import to_instant
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.model.saved import Past


class Known(NamedTuple):
    """The facts that explain what a job did at an instant.

    `runs` are the job's records around the instant; `is_whole` means that no earlier record is missing. `looked_back`
    is the instant of the oldest record that was searched for long runs, or "" if all records were searched. `others`
    are records of any job's runs that may have been live at the instant; `has_all_others` means that no such record is
    missing. `past` contains recorded changes to the job and to the host, oldest first. `downs` has, for each time
    without a daemon, the last sign of life before it and the next start. `presence` shows whether the job is now
    enabled, disabled or gone. `next_due` is the job's next scheduled due time, or None.
    """

    job: str
    runs: Sequence[Record]
    is_whole: bool
    looked_back: str
    others: Sequence[Record]
    has_all_others: bool
    past: Sequence[Past]
    downs: Sequence[tuple[int, int]]
    presence: str
    next_due: int | None


class AuditAnswer(NamedTuple):
    """The audit's answer about a job at an instant. `reasons` are sentences for people; the first sentence is the
    answer.

    `kind` is running, down, gone, waiting, retrying, ended, disabled, paused, skipped, not_due or unknown. `run` is the
    run that the answer is about, or None. `unknown` contains sentences about unknown facts.
    """

    kind: str
    run: str | None
    reasons: list[str]
    unknown: list[str]


class AttemptSpan(NamedTuple):
    """The period of one attempt. `end` is None while the attempt is live. If the attempt `is_lost`, it ended at `end`
    or earlier.
    """

    begin: int
    end: int | None
    is_lost: bool = False

    def covers(self, at: int) -> bool:
        """Return whether the attempt was live at an instant; if it is lost, return whether it may have been live."""
        return self.begin <= at and (self.end is None or at < self.end)


def instant(text: str) -> int:
    """Parse an instant in the format of records."""
    return to_instant(datetime.fromisoformat(text))


def spans(record: Record) -> list[AttemptSpan]:
    """Return the periods when a run was live, one for each attempt."""
    begun = [it for it in record["attempts"] if it["started"] is not None]
    following = [*(it["started"] for it in begun[1:]), record.get("given_up")]
    found = [
        AttemptSpan(
            instant(str(it["started"])), instant(it["ended"] or after or str(it["started"])), it["ended"] is None
        )
        for it, after in zip(begun, following, strict=False)
    ]
    if record["state"] in LIVE and record["started"] is not None:
        found.append(AttemptSpan(instant(record["started"]), None))
    return found


def dues(record: Record) -> tuple[int, int]:
    """Return the first and last due times that a record covers."""
    return instant(record["due"]), instant(record.get("last_due") or record["due"])


def given_up(record: Record) -> int | None:
    """Return the instant when a waiting run was given up, or None if the run did not wait or the instant is unknown."""
    text = record.get("given_up") if record["state"] == RunState.SKIPPED else None
    return None if text is None else instant(text)


def over(record: Record) -> int | None:
    """Return the instant when a started run ended, or None if the run is live, never started, or its end is unknown."""
    if record["state"] in LIVE | PENDING or record["state"] == RunState.SKIPPED:
        return None
    text = record.get("given_up") or record["ended"]
    return None if text is None else instant(text)
