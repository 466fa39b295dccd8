"""The shortest time between two starts by the clock, as times of day tell it: whatever the days are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from jobqueued.model import MINUTE, SECOND, Trigger
from jobqueued.timing.schedule import Schedule, Seconds

_MINUTES = 24 * 60


def closest(triggers: Iterable[Trigger], interval: int) -> int | None:
    """The shortest time (ns) between two of the times of day in cron expressions, if it is below `interval` (ns).

    None: it is not.  Expressions count together, and as if each day were one of theirs, the one after it too.
    """
    minutes, seconds = 0, {0}
    for trigger in triggers:
        match trigger:
            case Seconds(schedule=schedule):
                seconds = set(trigger.of_a_minute)
                minutes |= _of_a_day(*schedule.times_of_day)
            case Schedule():
                minutes |= _of_a_day(*trigger.times_of_day)
    if not minutes:
        return None
    circle = [*sorted(seconds), min(seconds) + 60]
    within = min(later - sooner for sooner, later in pairwise(circle)) * SECOND
    if len(seconds) > 1 and within < interval:
        return within
    for apart in range(1, min(-(-interval // MINUTE), _MINUTES)):
        if minutes & (minutes >> apart | minutes << _MINUTES - apart):
            return apart * MINUTE
    return None


def _of_a_day(minutes: int, hours: int) -> int:
    """A bit for each minute of the day, of a bit for each minute of the hour and each hour."""
    return sum(minutes << 60 * hour for hour in range(24) if hours >> hour & 1)
