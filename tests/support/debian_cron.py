"""What Debian's cron starts while its clock is set: the rules of its loop (cron 3.0pl1), by the minute of the clock.

It keeps the minute up to which fixed times had their turn.  `tests/realcron` holds these rules against the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from jobqueued.timing.schedule import Schedule

LATE, STEP = 5, 180
"""Minutes: as many as are made up for in order, and as many as are a step and no correction."""
_MINUTE = timedelta(minutes=1)


class DebianCron:
    """A cron that was last awake in a minute (since 1970), in UTC."""

    def __init__(self, expressions: tuple[str, ...], minute: int) -> None:
        self._jobs = {expression: Schedule(expression) for expression in expressions}
        self._reached = self._awake = minute

    def wakes(self, minute: int) -> Iterator[str]:
        """Yield the expressions that it starts as it wakes in a minute of its clock."""
        ahead, since = minute - self._reached, self._reached + 1
        if minute == self._awake:  # it sleeps on
            return
        self._awake = minute
        if 0 < ahead <= LATE:
            for each in range(since, minute + 1):
                yield from self._due(each, wild=True, fixed=True)
        elif LATE < ahead <= STEP:
            yield from self._due(minute, wild=True)
            for each in range(since, minute + 1):
                yield from self._due(each, fixed=True)
        elif -STEP < ahead <= 0:
            yield from self._due(minute, wild=True)
            return
        else:
            yield from self._due(minute, wild=True, fixed=True)
        self._reached = minute

    def _due(self, minute: int, *, wild: bool = False, fixed: bool = False) -> Iterator[str]:
        for expression, schedule in self._jobs.items():
            wall = datetime(1970, 1, 1) + minute * _MINUTE
            if (fixed if schedule.is_fixed else wild) and schedule.first_within(wall, wall + _MINUTE) is not None:
                yield expression
