"""Times that people write, such as ``tomorrow 03:00``, ``5pm + 2 days``, ``in 90m`` or ``noon``.

The grammar is that of at(1) (/usr/share/doc/at/timespec), with more forms; time and date may come in either order. A
text that is ambiguous or not a time is refused; the message shows accepted forms.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from jobqueued.base.instants import SECOND, to_datetime, to_instant

_TOKEN = re.compile(
    r"(?P<iso>\d{4}-\d\d?-\d\d?t\d\d?:\d\d(?::\d\d)?(?:z|[+-]\d\d:?\d\d)?)"
    r"|(?P<date>\d{1,4}-\d\d?-\d\d?|\d\d?\.\d\d?\.\d{2,4}|\d\d?/\d\d?/\d{2,4})"
    r"|(?P<clock>\d\d?(?:[:']\d\d(?::\d\d)?|h\d\d(?![ms]))(?!\d)|\d\d?\.\d\d(?![.\d]))"
    r"|(?P<number>\d+)|(?P<word>[a-z]+)|(?P<sign>[+-])|(?P<odd>\S)",
    re.ASCII,
)
_OFFSET = re.compile(r"(z|[+-]\d\d:?\d\d)$", re.ASCII)
_NAMED = {"noon": time(12), "midday": time(12), "midnight": time(0), "teatime": time(16)}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600}
_SPANS = {"d": (0, 1), "day": (0, 1), "w": (0, 7), "week": (0, 7), "month": (1, 0), "year": (12, 0)}
"""Calendar unit → its length in months and days."""
_MOST = 100_000


class TimeError(ValueError):
    """A string is not a time or is ambiguous; the message quotes the text and shows accepted forms."""


class NoTime(TimeError):
    """A string is not a time."""


class PastTime(TimeError):
    """A string means a time in the past."""


def read(text: str, now: int, timezone: str) -> int:
    """Return the instant that a string means at `now` in a timezone.

    A time of day that has passed today means tomorrow. Raises TimeError.
    """
    words = _Words(text, now, ZoneInfo(timezone))
    try:
        instant = to_instant(words.moment())
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, TimeError) else words.wrong() from None
    if instant < now - now % (60 * SECOND):
        raise PastTime(
            f"found {text!r}, which is in the past: {_shown(to_datetime(instant), words.zone)}; expected a later time"
        )
    return max(instant, now)


def read_past(text: str, now: int, timezone: str) -> int:
    """Return the past instant that a string means; ``yesterday`` is accepted too.  Raises TimeError.

    A time of day, a weekday or a day of a month means the last one before `now`.
    """
    words = _Words(text, now, ZoneInfo(timezone), is_past=True)
    try:
        instant = to_instant(words.moment())
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, TimeError) else words.wrong() from None
    if instant > now:
        shown = _shown(to_datetime(instant), words.zone)
        raise TimeError(f"found {text!r}, which is in the future: {shown}; expected an earlier time")
    return instant


def _shown(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


class _Words:
    """A string's words, to be read from left to right."""

    def __init__(self, text: str, now: int, zone: ZoneInfo, *, is_past: bool = False) -> None:
        self.text, self.zone, self._is_past = text, zone, is_past
        self.now = to_datetime(now).astimezone(zone)
        found = (it for it in _TOKEN.finditer(text.lower().replace(",", " ")))
        self._todo = [(str(it.lastgroup), it[0]) for it in found][::-1]
        self._date: date | None = None
        self._time: time | None = None
        self._is_now = self._weekly = False
        self._months = self._days = self._seconds = 0
        self._ends_day = False
        """Whether the time is 24:00."""
        self._moved_years = 0
        """1 or -1 if a date without a year is in the next or last year, otherwise 0."""
        self._zone: ZoneInfo | None = None

    def wrong(self, accepted: str = "") -> TimeError:
        return NoTime(f"found {self.text!r}; expected {accepted or self._examples()}")

    def _examples(self) -> str:
        if self._is_past:
            day = self.now.date() - timedelta(days=7)
            return f"18:00, 2am, noon, yesterday 03:00, monday 9am, {day} 18:00, now - 3 days"
        day = self.now.date() + timedelta(days=7)
        return f"18:00, 5pm, noon, tomorrow 03:00, monday 9am, {day} 18:00, +2h, now + 3 days"

    def moment(self) -> datetime:
        if len(self.text) > 100 or not self._todo:
            raise self.wrong()
        if self._peek() == "at":
            self._todo.pop()
        if len(self._todo) == 1 and self._todo[0][0] == "iso":
            return self._exact(self._todo[0][1])
        if self._peek() in ("in", "+"):
            self._is_now = True
        while self._todo:
            self._part(*self._todo.pop())
        return self._resolved()

    def _peek(self) -> str:
        return self._todo[-1][1] if self._todo else ""

    def _exact(self, text: str) -> datetime:
        """Return the instant of an ISO time; without an offset, its date and time are read like other words."""
        if _OFFSET.search(text):
            return datetime.fromisoformat(text.upper())
        day, clock = text.split("t")
        self._todo = [("clock", clock), ("date", day)]
        return self.moment()

    def _part(self, kind: str, word: str) -> None:
        match kind:
            case "clock":
                hour, minute, *second = map(int, re.split("[:h'.]", word))
                self._set_time(hour, minute, *second)
            case "date":
                self._set_date(_of_digits(word))
            case "number":
                self._number(word)
            case "sign":
                self._increment(1 if word == "+" else -1)
            case "word":
                self._word(word)
            case _:
                raise self.wrong()

    def _word(self, word: str) -> None:
        if word in _NAMED:
            self._put_time(_NAMED[word])
        elif word == "now":
            self._is_now = True
        elif word == "in":
            self._increment(1)
        elif word in ("utc", "gmt", "z") and self._time is not None:
            self._zone = ZoneInfo("UTC")
        elif word in ("today", "tomorrow"):
            self._set_date(self.now.date() + timedelta(days=word == "tomorrow"))
        elif word == "yesterday" and self._is_past:
            self._set_date(self.now.date() - timedelta(days=1))
        elif word == "next":
            self._next()
        elif (day := _place(word, _DAYS)) is not None:
            self._weekday(day, is_past=self._is_past)
        elif (month := _place(word, _MONTHS)) is not None:
            self._set_date(self._of_month(month + 1, int(self._take_number(2))))
        else:
            raise self.wrong()

    def _number(self, digits: str) -> None:
        following = self._peek()
        if following in ("am", "pm"):
            self._set_time(int(digits), 0)
        elif len(digits) <= 2 and (month := _place(following, _MONTHS)) is not None:
            self._todo.pop()
            self._set_date(self._of_month(month + 1, int(digits)))
        elif len(digits) == 4:
            self._set_time(int(digits[:2]), int(digits[2:]))
        elif len(digits) in (6, 8):
            self._set_date(_dated(digits[4:], digits[:2], digits[2:4]))
        elif len(digits) <= 2 and int(digits) <= 24:
            hour = int(digits) % 24
            spellings = [f"{hour:02}:00", *([f"{hour}am", f"{hour}pm"] if 1 <= hour <= 12 else [])]
            raise self.wrong(f"{' or '.join(spellings)}; or another time, such as {self._examples()}")
        else:
            raise self.wrong()

    def _set_time(self, hour: int, minute: int, second: int = 0) -> None:
        if self._peek() in ("am", "pm"):
            if hour > 12:
                raise self.wrong()
            hour = hour % 12 + 12 * (self._todo.pop()[1] == "pm")
        self._ends_day = (hour, minute, second) == (24, 0, 0)
        self._put_time(time(0 if self._ends_day else hour, minute, second))

    def _put_time(self, it: time) -> None:
        if self._time is not None:
            raise self.wrong()
        self._time = it

    def _set_date(self, it: date) -> None:
        if self._date is not None:
            raise self.wrong()
        self._date = it

    def _of_month(self, month: int, day: int) -> date:
        """Return the date of a day and month.

        If the text's next word is a year, use this year; otherwise use the nearest future or past year.
        """
        if self._todo and self._todo[-1][0] == "number" and self._is_year():
            return _dated(self._todo.pop()[1], str(month), str(day))
        found, today = (month, day), (self.now.month, self.now.day)
        self._moved_years = -(found > today) if self._is_past else int(found < today)
        return date(self.now.year + self._moved_years, month, day)

    def _is_year(self) -> bool:
        """Return whether the next number is a year and not a time of day: ``jul 31 2027``, ``jul 31 1730``."""
        digits, behind = self._peek(), self._todo[-2][1] if len(self._todo) > 1 else ""
        if behind in ("am", "pm"):
            return False
        return (len(digits) == 4 and (self._time is not None or 1970 <= int(digits) < 2200)) or len(digits) == 2

    def _take_number(self, most: int) -> str:
        if not self._todo or self._todo[-1][0] != "number" or len(self._todo[-1][1]) > most:
            raise self.wrong()
        return self._todo.pop()[1]

    def _next(self) -> None:
        word = self._todo.pop()[1] if self._todo else ""
        if (day := _place(word, _DAYS)) is not None:
            self._weekday(day, is_past=False)
        else:
            self._add(1, word)

    def _weekday(self, day: int, *, is_past: bool) -> None:
        """Set the date to the next day with this name; today's name means the day in a week.

        For past times, set it to the last such day, which may be today.
        """
        if is_past:
            self._set_date(self.now.date() - timedelta(days=(self.now.weekday() - day) % 7))
            self._weekly = True
            return
        ahead = (day - self.now.weekday() - 1) % 7 + 1
        self._set_date(self.now.date() + timedelta(days=ahead))

    def _increment(self, sign: int) -> None:
        """Read an increment such as ``2 hours``, ``2h`` or ``1h30m``, and add it to the time; `sign` -1 subtracts
        it.
        """
        if not self._todo or self._todo[-1][0] != "number":
            raise self.wrong()
        while self._todo and self._todo[-1][0] == "number":
            number = int(self._take_number(6))
            if not self._todo or self._todo[-1][0] != "word":
                raise self.wrong(f"a unit after {number}: minutes, hours, days, weeks, months or years")
            self._add(sign * number, self._todo.pop()[1])

    def _add(self, number: int, unit: str) -> None:
        unit = unit if unit in _UNITS or unit in _SPANS else unit.removesuffix("s")
        unit = "minute" if len(unit) >= 3 and "minute".startswith(unit) else unit
        if abs(number) > _MOST:
            raise self.wrong(f"at most {_MOST} {unit}s")
        if unit in _UNITS:
            self._seconds += number * _UNITS[unit]
        elif unit in _SPANS:
            months, days = _SPANS[unit]
            self._months, self._days = self._months + number * months, self._days + number * days
        else:
            raise self.wrong()

    def _resolved(self) -> datetime:
        if self._is_now and (self._time or self._date):
            raise self.wrong()
        if self._is_now and not (self._months or self._days):
            return self.now + timedelta(seconds=self._seconds) if self._zone is None else self.now
        zone, now = self._zone or self.zone, self.now
        day = self._date or now.astimezone(zone).date()
        clock = self._time if self._time is not None else now.time().replace(second=0, microsecond=0)
        if self._time is None and self._is_now:
            clock = now.time()
        wall, seconds = _later(datetime.combine(day, clock), self._months, self._days), timedelta(seconds=self._seconds)
        wall = self._in_this_year(wall) + timedelta(days=self._ends_day)
        is_of_today = self._time is not None and self._date is None and not (self._months or self._days)
        is_early = wall.replace(tzinfo=zone).astimezone(UTC) + seconds <= now
        if self._is_past and not is_early:
            wall -= timedelta(days=7 if self._weekly else is_of_today)
        elif is_of_today and is_early and not self._is_past:
            wall += timedelta(days=1)
        return self._unique(wall, zone) + seconds

    def _in_this_year(self, wall: datetime) -> datetime:
        """Return `wall` in this year if its increment moves it to the wanted side of now, otherwise return `wall`."""
        this = _later(wall, -12 * self._moved_years, 0)
        ahead = (this + timedelta(seconds=self._seconds)).date() - self.now.date()
        is_enough = ahead <= timedelta(0) if self._is_past else ahead >= timedelta(0)
        return this if is_enough else wall

    def _unique(self, wall: datetime, zone: ZoneInfo) -> datetime:
        """Return the instant of a wall time. Raises TimeError if the timezone skips or repeats this wall time."""
        early, late = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        if early.utcoffset() == late.utcoffset():
            return early.astimezone(UTC)
        shown = f"{wall:%Y-%m-%d %H:%M}"
        if early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall:
            after = early.astimezone(UTC).astimezone(zone)
            before = late.astimezone(UTC).astimezone(zone)
            near = f"{before:%Y-%m-%d %H:%M} or {after:%Y-%m-%d %H:%M}"
            raise TimeError(f"found {self.text!r}: clocks in {zone.key} skip {shown}; expected {near}")
        both = " or ".join(it.isoformat(timespec="minutes") for it in (early, late))
        raise TimeError(f"found {self.text!r}: clocks in {zone.key} show {shown} twice; expected {both}")


def _place(word: str, names: tuple[str, ...]) -> int | None:
    """Return the index of the name that begins with the word, which must have at least three letters, or None."""
    return next((at for at, name in enumerate(names) if len(word) >= 3 and name.startswith(word)), None)


def _of_digits(word: str) -> date:
    """Parse a day: ``2027-01-31``, ``31.1.2027``, or the American ``1/31/2027``."""
    if "-" in word:
        return _dated(*word.split("-"))
    if "." in word:
        day, month, year = word.split(".")
        return _dated(year, month, day)
    month, day, year = word.split("/")
    return _dated(year, month, day)


def _dated(year: str, month: str, day: str) -> date:
    century = (2000 if int(year) < 70 else 1900) if len(year) <= 2 else 0
    return date(century + int(year), int(month), int(day))


def _later(wall: datetime, months: int, days: int) -> datetime:
    """Return `wall` plus months and days. If the resulting month does not have this day, use the month's last day."""
    if months:
        at = wall.year * 12 + wall.month - 1 + months
        year, month = divmod(at, 12)
        last = (datetime(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
        wall = wall.replace(year=year, month=month + 1, day=min(wall.day, last))
    return wall + timedelta(days=days)
