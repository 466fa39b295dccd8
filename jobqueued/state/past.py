"""The saved past: records around an instant, changes by users and job files, and periods without a daemon.

Each query is bounded, so that it takes only a few milliseconds, however long the history is.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.base.instants import to_text
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.saved import DueChange, Past
from jobqueued.state.db import rows
from jobqueued.state.db.formats import ENDED
from jobqueued.state.db.store import Store

_NEAR = 50
"""Number of records to read before an instant, and number to read after the instant."""
_FAR = 1000
"""Number of records before an instant to search for runs that lasted until that instant."""
_RECORD = "SELECT job, number, CAST(record AS BLOB) FROM run"
_NEXT = "SELECT number, queued FROM run WHERE job = ? AND number >= ? AND record IS NOT NULL ORDER BY number LIMIT 1"
_FIRST = "SELECT 1 FROM run WHERE job = ? AND number = 1 AND record IS NOT NULL"
_LAST = "SELECT max(number) FROM run WHERE job = ?"
_BEFORE = "SELECT number FROM run WHERE job = ? AND number < ? AND record IS NOT NULL ORDER BY number DESC LIMIT ?"
_AROUND = f"{_RECORD} WHERE job = ? AND number BETWEEN ? AND ? AND record IS NOT NULL ORDER BY number LIMIT ?"
_LATER = "max(coalesce(json_extract(record, '$.ended'), ''), coalesce(json_extract(record, '$.given_up'), '')) > ?"
_LASTED = f"{_RECORD} WHERE job = ? AND number BETWEEN ? AND ? AND record IS NOT NULL AND {_LATER}"
_LIVE = f"""
SELECT run.job, run.number, CAST(record AS BLOB)
FROM (SELECT job, number FROM run WHERE {ENDED} AND queued <= ? ORDER BY queued DESC LIMIT {_FAR}) AS last
CROSS JOIN run ON run.job = last.job AND run.number = last.number
WHERE started <= ? AND record IS NOT NULL AND {_LATER}
"""
_PASTS = (
    "SELECT kind, name, until, since, digest, timezone, NULL FROM due_change WHERE kind = 'past' AND name IN (?, '')"
)
_DOWNS = "SELECT until, since FROM due_change WHERE kind = 'start' AND until <= ? AND since > ?"


class Around(NamedTuple):
    """The records of a job around an instant; `is_whole` and `looked_back` as in `Known`."""

    records: list[Record]
    is_whole: bool
    looked_back: str


def around(store: Store, job: str, at: int) -> Around:
    """Return a job's records around an instant (wall), and records of older runs that lasted until that instant.

    Raises StoreError.
    """
    number = _number_after(store, job, at)
    before = [found for (found,) in store.query(_BEFORE, (job, number, _FAR + 1))]
    first, near = before[-1:] or [number], before[_NEAR - 1 : _NEAR] or before[-1:] or [number]
    found = _records(store.query(_AROUND, (job, near[0], 1 << 62, len(before[:_NEAR]) + _NEAR)))
    looked_back = ""
    if len(before) > _NEAR:
        found += _records(store.query(_LASTED, (job, first[0], near[0] - 1, to_text(at))))
    if len(before) > _FAR:
        looked_back = min((it["queued"] for it in found), default="")
        looked_back = _queued(store, job, first[0]) or looked_back
    return Around(found, bool(store.query(_FIRST, (job,))), looked_back)


def _queued(store: Store, job: str, number: int) -> str:
    found = store.query(_NEXT, (job, number))
    return to_text(found[0][1]) if found else ""


def _number_after(store: Store, job: str, at: int) -> int:
    """Return the number of the job's first run that was queued after an instant. The search is a bisection, because
    numbers grow with time.
    """
    low, high = 1, (store.query(_LAST, (job,))[0][0] or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = store.query(_NEXT, (job, middle))
        if found and found[0][0] < high and found[0][1] <= at:
            low = found[0][0] + 1
        else:
            high = middle
    return low


def live(store: Store, at: int) -> list[Record]:
    """Return the records of runs that may have been live at an instant (wall), among the last runs queued before the
    instant.
    """
    return _records(store.query(_LIVE, (at, at, to_text(at))))


def has_all(store: Store, at: int) -> bool:
    """Return whether `live` searches all runs that were queued before an instant (wall)."""
    query = f"SELECT count(*) FROM (SELECT 1 FROM run WHERE queued <= ? LIMIT {_FAR + 1})"
    return bool(store.query(query, (at,))[0][0] <= _FAR)


def _records(found: Iterable[tuple[str, int, bytes]]) -> list[Record]:
    return [record for row in found if (record := rows.record_in(*row)) is not None]


def noted(store: Store, waiting: Iterable[DueChange], job: str) -> list[Past]:
    """Return all changes of a job and of the host, saved or in `waiting`, oldest first. Raises StoreError."""
    changes = [DueChange(*row) for row in store.query(_PASTS, (job,))]
    changes += [change for change in waiting if change.kind == rows.PAST and change.name in (job, "")]
    return sorted((rows.past_in(change) for change in changes), key=lambda it: it.at)


def downs(store: Store, at: int) -> list[tuple[int, int]]:
    """Return the periods around an instant when no daemon ran or could commit. Raises StoreError."""
    return [(until, since) for until, since in store.query(_DOWNS, (at, at))]
