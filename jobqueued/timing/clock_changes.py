"""Future clock changes of a timezone: their instants, and the wall times that each change skips or repeats."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import cast
from zoneinfo import ZoneInfo

from jobqueued.child.contract.tuples import NamedTuple

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_HORIZON = 400
"""Number of days to search. A period in which a timezone with summer time has at least two clock changes."""


class ClockChange(NamedTuple):
    """One clock change. It skips or repeats the wall times from `begin` to before `end`."""

    instant: datetime
    begin: datetime
    end: datetime
    skips: bool


@lru_cache(maxsize=256)
def next_changes(timezone: str, day: datetime, count: int = 2) -> tuple[ClockChange, ...]:
    """Return the first `count` clock changes within 400 days after an aware instant. Two changes in one day may be
    missed.
    """
    zone, found = ZoneInfo(timezone), list[ClockChange]()
    for change in _changes(zone, day.astimezone(UTC)):
        found.append(change)
        if len(found) == count:
            break
    return tuple(found)


def _changes(zone: ZoneInfo, day: datetime) -> Iterator[ClockChange]:
    for number in range(_HORIZON):
        low, high = day + number * _DAY, day + (number + 1) * _DAY
        old, new = _offset(zone, low), _offset(zone, high)
        if old != new:
            seconds = range(_DAY // _SECOND)
            place = bisect_left(seconds, True, key=lambda second: _offset(zone, low + second * _SECOND) != old)
            instant = low + place * _SECOND
            wall = instant.replace(tzinfo=None)
            yield ClockChange(instant, wall + min(old, new), wall + max(old, new), new > old)


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return cast("timedelta", instant.astimezone(zone).utcoffset())
