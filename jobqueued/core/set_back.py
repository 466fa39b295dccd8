"""A clock that was set back: where a job's own clock stands then.

By more than 3 h it is a correction, and the job's clock begins again from now.  Otherwise fixed times wait until the
clock is where it was, and elapsed time goes on at once: what it makes due again is an occurrence of the next era.
"""

from __future__ import annotations

from jobqueued.copies import changed
from jobqueued.instants import STEP_LIMIT, Trigger
from jobqueued.model import MINUTE, Job, Scope, to_text
from jobqueued.saved import SavedJob


def set_back(saved: SavedJob, job: Job, wall: int, back: int = 0) -> SavedJob:
    """Return what is saved of a job at an instant (wall), once the clock was set back, `back` (ns; 0: unknown) by how
    much.

    A minute at most, if that is no more than the time between two starts, repeats nothing: the clock soon catches up.
    """
    begin, reached = wall - job.offset, max(saved.cursor, saved.settled)
    if max(back, reached - wall) > STEP_LIMIT:
        return changed(saved, cursor=wall, previous=0, era=saved.era + 1, settled=0)
    if saved.cursor > begin + back:  # it began there, and starts what is due later; or by how much is unknown
        begin = wall
    if reached <= begin:
        return saved
    if _repeats(saved, job, begin, max(back, saved.cursor - begin)):  # not by how much it was set back before
        return changed(saved, cursor=begin, previous=0, era=saved.era + 1, settled=reached)
    return changed(saved, settled=reached) if max(back, reached - begin) > MINUTE else saved


def waits_until(saved: SavedJob, job: Job, wall: int) -> int | None:
    """Return the instant (wall) up to which fixed times of a job come again and are not due; None: there are none, or
    it is due at none later.
    """
    if saved.settled <= wall - job.offset or not job.enabled:
        return None
    once = tuple(trigger for trigger in job.triggers if not _is_twice(trigger, job))
    fixed = changed(job, triggers=once)
    first = fixed.next_after(wall - job.offset)
    is_over = fixed.next_after(saved.settled) is None
    return None if first is None or first > saved.settled or is_over else saved.settled + job.offset


def told(until: int) -> str:
    """Describe that fixed times wait until an instant (wall)."""
    return f"fixed times until {to_text(until)} had their turn before the clock was set back"


def _is_twice(trigger: Trigger, job: Job) -> bool:
    """Tell whether a time that the clock shows twice makes a job due twice; of a fleet it does not."""
    return trigger.starts_twice and job.scope is Scope.HOST


def _repeats(saved: SavedJob, job: Job, begin: int, back: int) -> bool:
    """Tell whether a due time that is covered comes again as another occurrence."""
    elapsing = changed(job, triggers=tuple(trigger for trigger in job.triggers if _is_twice(trigger, job)))
    first = elapsing.next_after(begin)
    if first is None or first > saved.cursor:
        return False
    following = elapsing.next_after(first)
    return back > MINUTE or (following is not None and back > following - first)
