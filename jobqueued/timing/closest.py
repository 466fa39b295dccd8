"""The shortest time between two scheduled starts of a job. It follows from the times of day, as if all days matched."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from jobqueued.base.instants import MINUTE, SECOND, Trigger
from jobqueued.timing.schedule import Schedule, Seconds

_MINUTES = 24 * 60


def closest(triggers: Iterable[Trigger], interval: int) -> int | None:
    """Return the shortest time (ns) between two starts that cron expressions give, or None if it is not below
    `interval` (ns).

    The function considers only times of day: all expressions count together, as if each matched every day.
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
    """Return the matching minutes of the day as a bit mask, from the masks for the minutes of the hour and for the
    hours.
    """
    return sum(minutes << 60 * hour for hour in range(24) if hours >> hour & 1)
