"""Every clock change of every time zone, and a model of what is due around it, worked out minute by minute.

The model shares nothing with the package: it shows each minute of a stretch of time on the wall, compares the five
fields with it one by one, and applies the dst rules as they are worded.  `JOBQUEUED_SOAK=1` widens the years.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from math import gcd
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

SOAK = os.environ.get("JOBQUEUED_SOAK") == "1"
FIRST, LAST = (1970, 2037) if SOAK else (2024, 2030)
"""The years whose clock changes are looked at."""

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
STRIDE = timedelta(days=3)
"""No zone changes its clock twice within three days (Freetown came nearest, in 1939)."""

NEARBY = timedelta(days=6)
"""Two zones with the same change are taken for one if all their changes so near to it are the same."""


class Change(NamedTuple):
    """A clock change of a zone: its instant in UTC, the offset before it and after it."""

    zone: str
    at: datetime
    before: timedelta
    after: timedelta

    @property
    def size(self) -> timedelta:
        """How long the gap or the repeated time is."""
        return abs(self.after - self.before)

    @property
    def low(self) -> datetime:
        """The first wall time of the gap or of the repeated time."""
        return self.at.replace(tzinfo=None) + min(self.before, self.after)

    @property
    def high(self) -> datetime:
        """The first wall time after the gap or the repeated time."""
        return self.at.replace(tzinfo=None) + max(self.before, self.after)


# ── changes ──


def offset_of(zone: ZoneInfo, instant: datetime) -> timedelta:
    """Return how far the wall clock is from UTC at an instant."""
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def changes_of(name: str, start: datetime, stop: datetime) -> Iterator[Change]:
    """List the changes of one zone, later than start and not later than stop; a new name alone is not a change."""
    zone = ZoneInfo(name)
    before = offset_of(zone, start)
    while start < stop:
        low, high = start, min(start + STRIDE, stop)
        start, after = high, offset_of(zone, high)
        if before != after:
            while high - low > SECOND:
                middle = low + (high - low) // (2 * SECOND) * SECOND
                low, high = (middle, high) if offset_of(zone, middle) == before else (low, middle)
            yield Change(name, high, before, after)
        before = after


@cache
def changes() -> list[Change]:
    """List the changes of all zones in the years FIRST to LAST, each that zones share only once, in order of time."""
    start, stop = datetime(FIRST, 1, 1, tzinfo=UTC), datetime(LAST + 1, 1, 1, tzinfo=UTC)
    found: dict[object, Change] = {}
    for name in sorted(available_timezones()):
        history = list(changes_of(name, start, stop))
        for change in history:
            near = tuple(other[1:] for other in history if abs(other.at - change.at) < NEARBY)
            found.setdefault((change[1:], near), change)
    return sorted(found.values(), key=lambda change: (change.at, change.zone))


@cache
def kinds() -> list[Change]:
    """Pick one of the changes that are alike: between the same two offsets at the same time of day."""
    return list({(change.before, change.after, change.low.time()): change for change in changes()}.values())


# ── the model ──


class Moment(NamedTuple):
    """An instant at which a minute begins on the wall; `again` if the wall clock showed that minute before."""

    at: datetime
    wall: datetime
    again: bool


class Window(NamedTuple):
    """What the wall clock shows later than start and not later than stop, by hour and minute, and what it skips."""

    zone: str
    start: datetime
    stop: datetime
    shown: dict[tuple[int, int], list[Moment]]
    gaps: list[tuple[datetime, list[datetime]]]


def window(name: str, start: datetime, stop: datetime) -> Window:
    """Let the wall clock of a zone run from one instant, at a whole second, to another."""
    zone = ZoneInfo(name)
    found = list(changes_of(name, start, stop))
    offsets = [offset_of(zone, start), *(change.after for change in found)]
    # Old offsets have seconds, so that the minutes of the wall clock are not those of UTC.
    step = gcd(60, *((start + offset).second for offset in offsets)) * SECOND
    shown: dict[tuple[int, int], list[Moment]] = {}
    at = start
    while (at := at + step) <= stop:
        wall = at.astimezone(zone)
        if wall.second == 0:
            moment = Moment(at, wall.replace(tzinfo=None), wall.fold == 1)
            shown.setdefault((wall.hour, wall.minute), []).append(moment)
    gaps = [(change.at, skipped(change)) for change in found if change.after > change.before]
    return Window(name, start, stop, shown, gaps)


def skipped(change: Change) -> list[datetime]:
    """List the minutes of the wall clock that a change leaves out."""
    wall = change.low.replace(second=0)
    minutes = (wall + n * MINUTE for n in range(change.size // MINUTE + 2))
    return [minute for minute in minutes if change.low <= minute < change.high]


@cache
def values(field: str, low: int, high: int) -> frozenset[int]:
    """List what a field of numbers, ranges, stars and steps means."""
    found: set[int] = set()
    for item in field.split(","):
        text, _, step = item.partition("/")
        first, _, last = text.partition("-")
        whole = range(low, high + 1) if text == "*" else range(int(first), int(last or first) + 1)
        found.update(whole[:: int(step or 1)])
    return frozenset(found)


def is_day(expression: str, wall: datetime) -> bool:
    """Tell whether an expression means a date: both day fields if one of them starts with a star, else either."""
    _, _, day, month, weekday = expression.split()
    by_date = wall.day in values(day, 1, 31)
    by_weekday = not {wall.isoweekday(), wall.isoweekday() % 7}.isdisjoint(values(weekday, 0, 7))
    starred = day.startswith("*") or weekday.startswith("*")
    return wall.month in values(month, 1, 12) and (by_date and by_weekday if starred else by_date or by_weekday)


def owed(view: Window, expression: str) -> dict[str, list[datetime]]:
    """List what is due in a window under each dst rule, by its wording.

    `once`: each wall time once, one in a gap right after it, that is at the change; all those of one gap are one run.
    `both`: also again in a repeated hour.  `skip`: nothing for a gap, and the first of a repeated hour.  `cron`: a job
    whose minute or hour starts with a star follows elapsed time, any other is treated as by `once`.
    """
    minute, hour, *_ = expression.split()
    hours, minutes = values(hour, 0, 23), values(minute, 0, 59)
    first, again, after_gap = set(), set(), set()
    for moment in (moment for h in hours for m in minutes for moment in view.shown.get((h, m), ())):
        if is_day(expression, moment.wall):
            (again if moment.again else first).add(moment.at)
    for at, walls in view.gaps:
        if any(wall.hour in hours and wall.minute in minutes and is_day(expression, wall) for wall in walls):
            after_gap.add(at)
    due = {"once": first | after_gap, "both": first | again | after_gap, "skip": first}
    due["cron"] = first | again if minute.startswith("*") or hour.startswith("*") else due["once"]
    return {dst: sorted(instants) for dst, instants in due.items()}
