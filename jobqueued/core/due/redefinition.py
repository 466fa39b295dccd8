"""The effect of a new definition on a job's clock.  Nothing here starts or stops a run."""

from __future__ import annotations

import sys

from jobqueued.base.replace import changed
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.due.set_back import set_back
from jobqueued.model.job import Job
from jobqueued.model.saved import SavedJob

DUES_A_TURN = 1000
CHANGED = ("rhythm", "cursor", "previous", "era", "settled", "skips", "satisfied", "ends", "appeared")
"""The saved fields that a new definition may change."""


class Redefinition(NamedTuple):
    """The effect of a new definition: the job's new saved state, the due times to skip, and the values to log."""

    saved: SavedJob
    forgone: list[int]
    """Due times, in the previous era, whose start the `spread` of the old definition had deferred."""
    past: int | None
    """The due time of the key `at` if it had passed when the daemon first read the job, otherwise None."""
    ahead: int
    """How far (ns) the last due time is ahead of the system clock, or 0. The job's clock continues from now."""


def dues(job: Job, cursor: int, wall: int, settled: int = 0) -> tuple[list[int], int | None]:
    """Return at most DUES_A_TURN unsettled due times after the cursor up to `wall`, and the next due time after
    them.
    """
    found: list[int] = []
    due = job.next_after(cursor, settled)
    while due is not None and due <= wall and len(found) < DUES_A_TURN:
        found.append(due)
        due = job.next_after(due, settled)
    return found, due


def put_off(job: Job, saved: SavedJob, wall: int) -> list[int]:
    """Return the past due times whose start `spread` has deferred; they are dropped with the definition."""
    return dues(job, saved.cursor, wall, saved.settled)[0] if job.offset and job.enabled else []


def redefine(saved: SavedJob, old: Job | None, job: Job, wall: int, *, completed: bool) -> Redefinition:
    """Return the outcome of a new definition; `old` is None for the first one since the start.

    `completed`: whether the job's `max_runs` have started. A cursor is valid for one rhythm. A new rhythm makes nothing
    due before now, and nothing twice. If the cursor is ahead because the clock was set back a little, the next due time
    is after the cursor.
    """
    rhythm = sys.intern(job.rhythm) if job.enabled and not completed else ""
    forgone: list[int] = []
    if old is not None and (saved.rhythm != rhythm or _comes_sooner(old, job, saved, wall)):
        forgone = put_off(old, saved, wall)
    cursor = forgone[-1] if forgone else saved.cursor
    satisfied = _still_satisfied(saved, old, job)
    ends = tuple(end for end in saved.ends if end.job in satisfied)
    before = changed(saved, satisfied=satisfied, ends=ends, cursor=cursor)
    after = set_back(before, job, wall)  # the clock may have been set back while the daemon was down
    ahead = max(cursor, saved.settled) - wall if after.era > saved.era else 0
    past = None
    if after.rhythm != rhythm or not after.cursor:
        covered = after.cursor  # all due times up to here have a record, under any rhythm
        after = changed(
            after,
            rhythm=rhythm,
            cursor=max(covered, wall),
            previous=after.previous or covered,
            skips=tuple(it for it in after.skips if job.next_after(it.due - 1) == it.due),
        )
        past = job.at if job.enabled and job.at is not None and covered < job.at <= wall else None
    if _awaits_new_paths(saved, old, job):
        after = changed(after, appeared=wall)  # files that already exist do not count as new
    return Redefinition(after, forgone, past, ahead)


def _comes_sooner(old: Job, job: Job, saved: SavedJob, wall: int) -> bool:
    """Return whether the new definition would start at once an occurrence that the old `spread` has deferred."""
    due = saved.next_due(old, saved.cursor) if old.offset > job.offset else None
    return due is not None and due + job.offset <= wall


def _still_satisfied(saved: SavedJob, old: Job | None, job: Job) -> tuple[str, ...]:
    """Return the satisfied dependencies that both the old and the new definition have."""
    kept = set(job.dependencies) & set(job.dependencies if old is None else old.dependencies)
    kept |= {after.name for after in job.submission.after} if job.submission else set()
    return tuple(sorted(kept & {*saved.satisfied}))


def _awaits_new_paths(saved: SavedJob, old: Job | None, job: Job) -> bool:
    is_new = not saved.appeared or (old is not None and old.on != job.on)
    return is_new and any(on.kind == "path" for on in job.on)
