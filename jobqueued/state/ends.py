"""Rows of history reduced to the facts that retention needs: when each run was queued, and whether it is a skip."""

from __future__ import annotations

from collections.abc import Iterator

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.run import RunId
from jobqueued.state.db.formats import ENDED
from jobqueued.state.db.store import Store

AT_ONCE = 50
"""Maximum number of rows of a job to read at once."""
_ROWS_AT_ONCE = 1000
_NEWEST = 1000


class HistoryEnd(NamedTuple):
    """The facts about an ended run that retention needs.

    `queued`: when the run was queued (wall). `by_scheduler`: whether the scheduler, not a supervisor, may have written
    the record.
    """

    queued: int
    by_scheduler: bool
    is_skip: bool


_WITH_ROWS = f"SELECT DISTINCT job FROM run INDEXED BY history WHERE {ENDED}"
"""The query reads only the index, not the records, which take 450 MB for 100,000 runs."""
_NEWEST_ROWS = f"SELECT job, number FROM run INDEXED BY history WHERE {ENDED} ORDER BY queued DESC LIMIT ?"
_ENDS = """
SELECT number, queued, state IN ('skipped', 'lost') OR attempt > 1, state = 'skipped' FROM run
WHERE job = ? AND number > ? AND number < ? AND record IS NOT NULL ORDER BY number DESC LIMIT ?
"""
_OF_POOL = """
SELECT job, number, queued, state IN ('skipped', 'lost') OR attempt > 1, state = 'skipped' FROM run
WHERE (job, number) > (?, ?) AND job < ? AND record IS NOT NULL ORDER BY job, number LIMIT ?
"""


def with_rows(store: Store) -> set[str]:
    """Return the jobs that have history.  Raises StoreError."""
    return {job for (job,) in store.query(_WITH_ROWS)}


def newest(store: Store) -> list[RunId]:
    """Return the newest ended runs of all jobs.  Raises StoreError."""
    return [RunId(job, number) for job, number in store.query(_NEWEST_ROWS, (_NEWEST,))]


def ends(store: Store, job: str, before: int, after: int = 0) -> dict[int, HistoryEnd]:
    """Return run number → facts for a job's newest ended runs with numbers above `after` and below `before`. Raises
    StoreError.
    """
    rows = store.query(_ENDS, (job, after, before, AT_ONCE))
    return {number: HistoryEnd(queued, bool(mine), bool(is_skip)) for number, queued, mine, is_skip in rows}


def of_pool(store: Store, pool: str) -> Iterator[list[tuple[int, RunId, HistoryEnd]]]:
    """Yield, in batches, all ended runs of jobs whose IDs begin with a pool's name (``alice/``): when each was queued
    (wall), its name, and its facts.

    Raises StoreError.
    """
    place = (pool, 0)
    while True:
        rows = store.query(_OF_POOL, (*place, f"{pool[:-1]}0", _ROWS_AT_ONCE))
        yield [
            (queued, RunId(job, number), HistoryEnd(queued, bool(mine), bool(is_skip)))
            for job, number, queued, mine, is_skip in rows
        ]
        if len(rows) < _ROWS_AT_ONCE:
            return
        place = rows[-1][:2]
