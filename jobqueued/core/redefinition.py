"""A definition replaces another: what becomes of where its clock stands.  Nothing here fires or stops anything."""

from __future__ import annotations

import sys

from jobqueued.child.tuples import NamedTuple
from jobqueued.copies import changed
from jobqueued.core.set_back import set_back
from jobqueued.model import Job
from jobqueued.saved import SavedJob

DUES_A_TURN = 1000
CHANGED = ("rhythm", "cursor", "previous", "era", "settled", "skips", "satisfied", "ends", "appeared")
"""The saved fields that a new definition may change; the others go on by themselves meanwhile."""


class Redefinition(NamedTuple):
    """The outcome: what is saved of the job from now on, what is to be skipped, what is to be said."""

    saved: SavedJob
    forgone: list[int]
    """Due times of the old definition, by the era before, whose start its `spread` had put off."""
    past: int | None
    """The `at` that was over when it was first seen."""
    ahead: int
    """By how much (ns) what was due last was ahead of the clock, from which it goes on now; 0: it was not."""


def dues(job: Job, cursor: int, wall: int, settled: int = 0) -> tuple[list[int], int | None]:
    """The due times after the cursor up to `wall` that are not `settled`, as many as one turn takes, and the one that
    follows them.
    """
    found: list[int] = []
    due = job.next_after(cursor, settled)
    while due is not None and due <= wall and len(found) < DUES_A_TURN:
        found.append(due)
        due = job.next_after(due, settled)
    return found, due


def put_off(job: Job, saved: SavedJob, wall: int) -> list[int]:
    """The due times after the cursor that would have come by now, but for `spread`: they die with the definition."""
    return dues(job, saved.cursor, wall, saved.settled)[0] if job.offset and job.enabled else []


def redefine(saved: SavedJob, old: Job | None, job: Job, wall: int, *, completed: bool) -> Redefinition:
    """Take a new definition; `old` None: the first since the start.  `completed`: its `max_runs` have started.

    A cursor holds for one rhythm.  Of another rhythm nothing is due before now, and nothing twice: after a small step
    back of the clock the cursor is ahead, and what was due until there has had its run, by any rhythm.
    """
    rhythm = sys.intern(job.rhythm) if job.enabled and not completed else ""
    forgone: list[int] = []
    if old is not None and (saved.rhythm != rhythm or _comes_sooner(old, job, saved, wall)):
        forgone = put_off(old, saved, wall)
    cursor = forgone[-1] if forgone else saved.cursor
    satisfied = _still_satisfied(saved, old, job)
    ends = tuple(end for end in saved.ends if end.job in satisfied)
    before = changed(saved, satisfied=satisfied, ends=ends, cursor=cursor)
    after = set_back(before, job, wall)  # where that was done while the daemon was down
    ahead = max(cursor, saved.settled) - wall if after.era > saved.era else 0
    past = None
    if after.rhythm != rhythm or not after.cursor:
        covered = after.cursor  # what is due by then has a record, of whatever rhythm
        after = changed(
            after, rhythm=rhythm, cursor=max(covered, wall), previous=after.previous or covered,
            skips=tuple(it for it in after.skips if job.next_after(it.due - 1) == it.due),
        )  # fmt: skip
        past = job.at if job.enabled and job.at is not None and covered < job.at <= wall else None
    if _awaits_new_paths(saved, old, job):
        after = changed(after, appeared=wall)  # what is there already has not appeared
    return Redefinition(after, forgone, past, ahead)


def _comes_sooner(old: Job, job: Job, saved: SavedJob, wall: int) -> bool:
    """Tell whether an occurrence that `spread` has put off would start by the very edit."""
    due = saved.next_due(old, saved.cursor) if old.offset > job.offset else None
    return due is not None and due + job.offset <= wall


def _still_satisfied(saved: SavedJob, old: Job | None, job: Job) -> tuple[str, ...]:
    """The dependencies that have succeeded and were the job's before, too."""
    kept = set(job.dependencies) & set(job.dependencies if old is None else old.dependencies)
    kept |= {after.name for after in job.submission.after} if job.submission else set()
    return tuple(sorted(kept & {*saved.satisfied}))


def _awaits_new_paths(saved: SavedJob, old: Job | None, job: Job) -> bool:
    is_new = not saved.appeared or (old is not None and old.on != job.on)
    return is_new and any(on.kind == "path" for on in job.on)
