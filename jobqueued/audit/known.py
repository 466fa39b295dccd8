"""All that is known of a job for an answer about an instant, the answer, and the times in which runs were live."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobqueued.child.tuples import NamedTuple
from jobqueued.model import LIVE, PENDING, Record, RunState, to_instant
from jobqueued.saved import Past


class Known(NamedTuple):
    """All that is known of a job for an answer about an instant.

    `runs`: its records about that instant, `is_whole` if none is missing before them, and `looked_back` to the first
    of those that were looked at for runs that lasted so long ("": to all that are kept); `others`: those of runs of
    any job that may have been live then, and `has_all_others` if no other was.  `past`: what was noted of the job, and
    of the host, oldest first.  `downs`: the last sign of life of each daemon, and the start of the next.  `standing`:
    enabled, disabled or gone by now; `next_due`: when the clock makes it due next.
    """

    job: str
    runs: Sequence[Record]
    is_whole: bool
    looked_back: str
    others: Sequence[Record]
    has_all_others: bool
    past: Sequence[Past]
    downs: Sequence[tuple[int, int]]
    standing: str
    next_due: int | None


class Answer(NamedTuple):
    """The answer: its `kind` is running, down, gone, waiting, retrying, ended, disabled, paused, skipped, not_due or
    unknown; the run that it is about; the reasons in words, the first of which is the answer; what is not known.
    """

    kind: str
    run: str | None
    reasons: list[str]
    unknown: list[str]


class Span(NamedTuple):
    """The time of one attempt; `end` None: it goes on.  One that `is_lost` was over by then, and maybe before."""

    begin: int
    end: int | None
    is_lost: bool = False

    def covers(self, at: int) -> bool:
        """Tell whether the attempt was live at an instant, or may have been if it is lost."""
        return self.begin <= at and (self.end is None or at < self.end)


def instant(text: str) -> int:
    """An instant as records have it."""
    return to_instant(datetime.fromisoformat(text))


def spans(record: Record) -> list[Span]:
    """The times in which a run was live, by its attempts."""
    begun = [it for it in record["attempts"] if it["started"] is not None]
    following = [*(it["started"] for it in begun[1:]), record.get("given_up")]
    found = [
        Span(instant(str(it["started"])), instant(it["ended"] or after or str(it["started"])), it["ended"] is None)
        for it, after in zip(begun, following, strict=False)
    ]
    if record["state"] in LIVE and record["started"] is not None:
        found.append(Span(instant(record["started"]), None))
    return found


def dues(record: Record) -> tuple[int, int]:
    """The first and the last due time that a record covers."""
    return instant(record["due"]), instant(record.get("last_due") or record["due"])


def given_up(record: Record) -> int | None:
    """The instant at which a skip that had waited was given up; None: it had not, or that is not known."""
    text = record.get("given_up") if record["state"] == RunState.SKIPPED else None
    return None if text is None else instant(text)


def over(record: Record) -> int | None:
    """The instant at which a run that has started was over; None: it goes on, never started, or that is not known."""
    if record["state"] in LIVE | PENDING or record["state"] == RunState.SKIPPED:
        return None
    text = record.get("given_up") or record["ended"]
    return None if text is None else instant(text)
