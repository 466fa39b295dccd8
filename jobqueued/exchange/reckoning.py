"""A second computation of a crontab line's due times, for a proof: day by day, as crontab(5) and cron(8) describe.

The module also imitates real crons, which handle clock changes and odd fields differently. The module shares no code
with `timing/`, and is slower, because it checks each wall time of a day in the timezone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, product
from zoneinfo import ZoneInfo

from jobqueued.child.contract.tuples import NamedTuple

DEBIAN, CRONIE, CRON_TZ = "debian", "cronie", "cronie's CRON_TZ"
"""The rules of real crons, which replace a `dst` rule.

Cronie's rules for clock changes apply only to the host's timezone, so lines with CRON_TZ have separate rules.
"""
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
NAMES = {"month": (_MONTHS, 1), "day-of-week": (_WEEKDAYS, 0)}
"""Field → its names, and the number of the first name."""
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAY = timedelta(days=1)
_LAST_YEAR = 2099
_RULES = {"once": (True, False), "both": (True, True), "skip": (False, False), CRON_TZ: (False, True)}
_LONGEST_GAP = timedelta(hours=3)
"""Longest gap that Debian's cron treats as a clock change.

Debian's cron treats a longer gap as a clock correction, and drops the times in the gap.
"""
_PART = re.compile(r"(\*|([A-Za-z0-9]+)(?:(-)([A-Za-z0-9]*))?)(?:(/)([A-Za-z0-9]*))?")


class Line(NamedTuple):
    """A crontab line: the five fields as sets, and which fields begin with ``*``. `in_gap`, `twice`: the effect of a
    clock change.

    `each`: whether every match in a gap is a separate start, as in a real cron, if the gap is at most `longest`.
    """

    minutes: list[int]
    hours: list[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    stars: tuple[bool, bool]
    in_gap: bool
    twice: bool
    each: bool = False
    longest: timedelta = timedelta.max

    @classmethod
    def read(cls, schedule: str, dst: str = "cron") -> Line:
        """Read five fields or a nickname. Raises ValueError if `schedule` is not in cron's grammar."""
        minute, hour, day, month, weekday = _NICKNAMES.get(schedule, schedule).split()
        wild, numbers = minute[0] == "*" or hour[0] == "*", lax_numbers if dst == DEBIAN else _numbers
        in_gap, twice = _RULES.get(dst, (not wild, wild))
        weekdays = {number % 7 for number in numbers(weekday, 0, 7, _WEEKDAYS)}
        return cls(
            sorted(numbers(minute, 0, 59)),
            sorted(numbers(hour, 0, 23)),
            numbers(day, 1, 31),
            numbers(month, 1, 12, _MONTHS, 1),
            weekdays,
            (day[0] == "*", weekday[0] == "*"),
            in_gap,
            twice,
            dst in (DEBIAN, CRONIE),
            _LONGEST_GAP if dst == DEBIAN else timedelta.max,
        )

    def has(self, day: date) -> bool:
        """Return whether the line's day fields match a day."""
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and ((by_day and by_weekday) if any(self.stars) else (by_day or by_weekday))


def due_times(schedule: str, zone: str, start: datetime, dst: str = "cron", seconds: str = "0") -> Iterator[datetime]:
    """Yield the due times after an aware `start`, in UTC, until the end of the century. Raises ValueError.

    If a real cron would start the job several times at one time, this time is repeated. `seconds`: the seconds of each
    minute.
    """
    offsets = [timedelta(seconds=number) for number in sorted(_numbers(seconds, 0, 59))]
    for minute in _minutes(Line.read(schedule, dst), ZoneInfo(zone), start.astimezone(UTC) - offsets[-1]):
        yield from (minute + offset for offset in offsets if minute + offset > start)


def _minutes(line: Line, clock: ZoneInfo, last: datetime) -> Iterator[datetime]:
    day = last.astimezone(clock).date() - _DAY
    while day.year <= _LAST_YEAR:
        if line.has(day):
            found = sorted(_of_day(line, clock, day) if line.each else set(_of_day(line, clock, day)))
            later = [instant for instant in found if instant > last]
            yield from later
            last = max([last, *later])
        day += _DAY


def first(
    schedule: str, zone: str, start: datetime, count: int, dst: str = "cron", seconds: str = "0"
) -> list[datetime]:
    """Return the first `count` due times after `start`."""
    return list(islice(due_times(schedule, zone, start, dst, seconds), count))


@lru_cache(maxsize=256)
def changes(zone: str, start: datetime, years: int) -> tuple[datetime, ...]:
    """Return the instants (UTC) of a timezone's clock changes in this number of years after `start`."""
    clock, found = ZoneInfo(zone), list[datetime]()
    for number in range(366 * years):
        day = start + number * _DAY
        if day.astimezone(clock).utcoffset() != (day + _DAY).astimezone(clock).utcoffset():
            found.append(_change(clock, day, day + _DAY))
    return tuple(found)


def _of_day(line: Line, clock: ZoneInfo, day: date) -> Iterator[datetime]:
    for hour, minute in product(line.hours, line.minutes):
        wall = datetime.combine(day, time(hour, minute), clock)
        early, late = (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        if early.astimezone(clock).replace(tzinfo=None) == wall.replace(tzinfo=None):
            yield early
            if line.twice and late != early:
                yield late
        elif line.in_gap and early - late <= line.longest:
            yield _change(clock, late - _DAY, early + _DAY)


def _change(clock: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """Return the instant of the clock change between two instants with different offsets."""
    before = low.astimezone(clock).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle in (low, high):
            break
        low, high = (middle, high) if middle.astimezone(clock).utcoffset() == before else (low, middle)
    return high


def _numbers(text: str, low: int, high: int, names: list[str] | None = None, base: int = 0) -> set[int]:
    """Return the numbers that a field matches. Raises ValueError if the field is invalid."""
    found = set[int]()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        begin, dash, end = span.partition("-")
        bounds = (
            (low, high) if span == "*" else (_number(begin, names, base), _number(end if dash else begin, names, base))
        )
        if not (low <= bounds[0] <= bounds[1] <= high) or (slash and int(step) < 1):
            raise ValueError(f"{part!r} is nothing that cron knows")
        found.update(range(bounds[0], bounds[1] + 1, int(step) if slash else 1))
    return found


def lax_numbers(text: str, low: int, high: int, names: list[str] | None = None, base: int = 0) -> set[int]:
    """Return the numbers that a field matches in Debian's cron. Raises ValueError if this cron refuses the whole table.

    Debian's cron ignores garbage after a part, a backward range is empty, and a single number can't have a step.
    """
    found, place = set[int](), 0
    while part := _PART.match(text, place):
        span, begin, dash, end, slash, step = part.groups()
        is_range = span == "*" or dash is not None
        first, last = (low, high) if span == "*" else (_number(each, names, base) for each in (begin, end or begin))
        first, last, width = map(_in_32_bits, (first, last, int(step) if slash else 1))
        if not (low <= first <= high and low <= last <= high and width > 0) or end == "" or (slash and not is_range):
            raise ValueError(f"{text!r} is nothing that cron knows")
        found.update(range(first, last + 1, width))
        place = part.end()
        if text[place : place + 1] != ",":
            return found
        place += 1
    raise ValueError(f"{text!r} is nothing that cron knows")


def _in_32_bits(number: int) -> int:
    """Return a number as C's atoi() does: limited to a long, and then cut to an int."""
    cut = min(number, 2**63 - 1) % 2**32
    return cut if cut < 2**31 else cut - 2**32


def _number(text: str, names: list[str] | None, base: int) -> int:
    if names and text.lower() in names:
        return names.index(text.lower()) + base
    return int(text)
