"""Set the jobs' clocks back after a step back of the system clock.

A step of more than 3 h is a correction: the job's clock starts again from now.  After a smaller step, fixed times wait
until the system clock reaches its earlier time again. Intervals continue at once; due times that they repeat are
occurrences of the next era.
"""

from __future__ import annotations

from jobqueued.base.instants import MINUTE, STEP_LIMIT, Trigger
from jobqueued.base.replace import changed
from jobqueued.model.job import Job, Scope
from jobqueued.model.saved import SavedJob


def set_back(saved: SavedJob, job: Job, wall: int, back: int = 0) -> SavedJob:
    """Return a job's saved state at the instant `wall`, after the clock was set back by `back` ns; 0 means by an
    unknown time.

    No due time repeats after a step of at most a minute that is no longer than the time between two starts.
    """
    begin, reached = wall - job.offset, max(saved.cursor, saved.settled)
    if max(back, reached - wall) > STEP_LIMIT:
        return changed(saved, cursor=wall, previous=0, era=saved.era + 1, settled=0)
    if saved.cursor > begin + back:  # the job's clock started at the cursor, or the step is unknown
        begin = wall
    if reached <= begin:
        return saved
    if _repeats(saved, job, begin, max(back, saved.cursor - begin)):  # the step alone, without earlier ones
        return changed(saved, cursor=begin, previous=0, era=saved.era + 1, settled=reached)
    return changed(saved, settled=reached) if max(back, reached - begin) > MINUTE else saved


def waits_until(saved: SavedJob, job: Job, wall: int) -> int | None:
    """Return the instant (wall) until which a job's fixed times pass a second time without being due.

    None means that no fixed time passes again, or that no later fixed time exists.
    """
    if saved.settled <= wall - job.offset or not job.enabled:
        return None
    once = tuple(trigger for trigger in job.triggers if not _is_twice(trigger, job))
    fixed = changed(job, triggers=once)
    first = fixed.next_after(wall - job.offset)
    is_over = fixed.next_after(saved.settled) is None
    return None if first is None or first > saved.settled or is_over else saved.settled + job.offset


def _is_twice(trigger: Trigger, job: Job) -> bool:
    """Return whether a trigger makes a job due again when the clock shows a time twice; never for a fleet job."""
    return trigger.starts_twice and job.scope is Scope.HOST


def _repeats(saved: SavedJob, job: Job, begin: int, back: int) -> bool:
    """Return whether a handled due time recurs as an occurrence of the next era."""
    elapsing = changed(job, triggers=tuple(trigger for trigger in job.triggers if _is_twice(trigger, job)))
    first = elapsing.next_after(begin)
    if first is None or first > saved.cursor:
        return False
    following = elapsing.next_after(first)
    return back > MINUTE or (following is not None and back > following - first)
