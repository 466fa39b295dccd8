"""What is compared: clock changes, a month of days, expressions, and the differences that are meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
HALF = MINUTE / 2
SETTLING = 5 * MINUTE
"""So long after a gap a real cron may take to start what it missed: it pauses up to 10 s after each missed minute."""

CONTROL = "* * * * *"
"""Stands first in every crontab: it shows whether the daemon kept up with the faked clock."""


def utc(text: str) -> datetime:
    """Read `2025-03-30 01:00` as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """A clock change: `at` is the first instant under the new offset."""

    zone: str
    at: datetime

    @property
    def walls(self) -> tuple[datetime, datetime]:
        """What the clock shows at the change, by the old and by the new offset."""
        zone = ZoneInfo(self.zone)
        old = (self.at - MINUTE).astimezone(zone).utcoffset() or timedelta()
        new = self.at.astimezone(zone).utcoffset() or timedelta()
        naive = self.at.replace(tzinfo=None)
        return naive + old, naive + new

    @property
    def shift(self) -> timedelta:
        """By how much the clock goes forward; below zero, back."""
        old, new = self.walls
        return new - old

    @property
    def name(self) -> str:
        """The zone and the day."""
        return f"{self.zone} {self.walls[0]:%Y-%m-%d}"

    def spelled(self, template: str) -> str:
        """Fill in a template: {h} is the hour that is skipped or repeated, {p} the one before, {n} the one after."""
        low, high = min(self.walls), max(self.walls)
        after = (high + 59 * MINUTE).hour
        after = after if after != low.hour else (low.hour + 1) % 24
        return template.format(p=(low.hour - 1) % 24, h=low.hour, n=after, day=low.day, month=low.month)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of faked time that a daemon lives through, in `seconds` of real time.

    `templates` and `expressions` run side by side, the control first.  `gap` is the change in it that skips an hour.
    """

    place: str
    zone: str
    start: datetime
    end: datetime
    templates: tuple[str, ...]
    expressions: tuple[str, ...]
    seconds: float
    gap: datetime | None = None

    @property
    def name(self) -> str:
        """Where and when, for people."""
        return f"{self.place}, from {self.start:%Y-%m-%d %H:%M} UTC"

    @property
    def rate(self) -> float:
        """How many times faster than real time the faked clock goes."""
        return (self.end - self.start).total_seconds() / self.seconds


@dataclass(frozen=True, slots=True)
class Declared:
    """A difference that is meant, for the reason of that mark: in each of the places, for each of the templates."""

    mark: str
    daemons: tuple[str, ...]
    places: tuple[str, ...]
    templates: tuple[str, ...]


# ── clock changes: past ones, whose rules no parliament will touch ──

CHANGES = (
    Change("Europe/Berlin", utc("2025-03-30 01:00")),
    Change("Europe/Berlin", utc("2025-10-26 01:00")),
    Change("America/New_York", utc("2025-03-09 07:00")),
    Change("America/New_York", utc("2025-11-02 06:00")),
    Change("Australia/Lord_Howe", utc("2025-10-04 15:30")),
    Change("Australia/Lord_Howe", utc("2025-04-05 15:00")),
    Change("Antarctica/Troll", utc("2025-03-30 01:00")),
    Change("Antarctica/Troll", utc("2025-10-26 01:00")),
    Change("America/Havana", utc("2025-03-09 05:00")),
    Change("America/Havana", utc("2025-11-02 05:00")),
    Change("Africa/Cairo", utc("2025-04-24 22:00")),
    Change("Africa/Cairo", utc("2025-10-30 21:00")),
    Change("Asia/Novosibirsk", utc("2016-07-23 20:00")),
    Change("Asia/Almaty", utc("2024-02-29 18:00")),
    Change("Pacific/Apia", utc("2011-12-30 10:00")),
)
STEADY = Change("Etc/UTC", utc("2025-03-30 02:00"))
"""No change at all: here every difference is a fault of the comparison."""

# No minute from 1 to 4: what a real cron starts late after a gap must not be mistaken for it.
TEMPLATES = (
    "0 {h} * * *",
    "30 {h} * * *",
    "45 {h} * * *",
    "30 {h}-{h} * * *",
    "30 {h} {day} {month} *",
    "0,30 {h} * * *",
    "0-59/30 {h} * * *",
    "5,*/30 {h} * * *",
    "30 {p},{h},{n} * * *",
    "0 {n} * * *",
    "30 {n} * * *",
    "15 0-23 * * *",
    "0 0-23 * * *",
    "0 0-23/2 * * *",
    "@daily",
    "@hourly",
    "0 * * * *",
    "*/30 * * * *",
    "0 */2 * * *",
    "*/30 {h} * * *",
    "*/30,45 {h} * * *",
    "*/20 {p},{h},{n} * * *",
)

# ── day fields: 5 o'clock on each day of March 2025, a Saturday to a Monday ──

CALENDAR = "March 2025"
DAYS = tuple(utc("2025-03-01 05:00") + timedelta(days=day) for day in range(31))
DAY_EXPRESSIONS = (
    "0 5 * * 1",
    "0 5 * * mon",
    "0 5 */5 * *",
    "0 5 */5 * 1",
    "0 5 1-31/5 * 1",
    "0 5 1-31 * 1",
    "0 5 1,*/10 * 1",
    "0 5 */10,3 * 1",
    "0 5 13 * 5",
    "0 5 13 * */2",
    "0 5 10-20 * */2",
    "0 5 15 * 0-7",
    "0 5 * * 0",
    "0 5 * * 7",
    "0 5 * * 5-7",
    "0 5 * * 6,7",
    "0 5 * * mon-fri",
    "0 5 31 * *",
    "0 5 */40 * *",
    "0 5 5-5 * *",
    "0 5-5 * * *",
    "0 5 * 3 *",
    "0 5 * feb *",
    "0 5 * * fri-sun",
    "0 5-4 * * *",
    "0 5 L * *",
    "0 5 * * 5L",
    "0 5 * * 1#2",
)

# ── the differences that are meant ──

DEBIAN, CRONIE = "Debian cron", "cronie"
REASONS = {
    "a": "Several matches of a fixed job inside one gap, and one at its very end, are one run of jobqueued.  "
    "Real crons start one process for each, a few seconds apart.",
    "b": "The offset of the zone changes, but not its DST flag.  cronie looks at the flag alone, and keeps the "
    "old offset until the flag changes or it is restarted.  jobqueued and Debian's cron follow the zone.",
    "c": "The clock goes forward by more than three hours.  Debian's cron takes that for a clock that was set, and "
    "drops what was skipped.  jobqueued has one rule for zone changes of any size.",
    "d": "`L` and `#` are not in crontab(5).  cronie drops such a line, Debian's cron the whole file in which it "
    "stands; except that Debian's cron takes `1#2` for `1`, every Monday.",
}

_NAMES = tuple(change.name for change in CHANGES)
_GAPS = _NAMES[0:12:2]
_LORD_HOWE, _TROLL = _GAPS[2], _GAPS[3]
_NOVOSIBIRSK, _ALMATY, _APIA = _NAMES[12:]
_TWICE = ("0,30 {h} * * *", "0-59/30 {h} * * *", "5,*/30 {h} * * *")
_EACH_HOUR = "0 0-23 * * *"
_NOVOSIBIRSK_EQUAL = {"0 {h} * * *", _EACH_HOUR, "@daily", "@hourly", "0 * * * *", "*/30 * * * *"}
_NOVOSIBIRSK_DIFFERS = tuple(template for template in TEMPLATES if template not in _NOVOSIBIRSK_EQUAL)
_ALMATY_DIFFERS = (
    "30 {p},{h},{n} * * *",
    "0 {n} * * *",
    "30 {n} * * *",
    "15 0-23 * * *",
    _EACH_HOUR,
    "0 0-23/2 * * *",
    "@daily",
    "0 */2 * * *",
    "*/30 {h} * * *",
    "*/30,45 {h} * * *",
    "*/20 {p},{h},{n} * * *",
)
_APIA_DIFFERS = (
    "30 {h} * * *",
    "45 {h} * * *",
    "30 {h}-{h} * * *",
    "30 {h} {day} {month} *",
    "30 {p},{h},{n} * * *",
    "0 {n} * * *",
    "30 {n} * * *",
    "15 0-23 * * *",
)

DECLARED = (
    Declared("a", (DEBIAN, CRONIE), _GAPS, _TWICE),
    Declared("a", (DEBIAN, CRONIE), tuple(name for name in _GAPS if name != _LORD_HOWE), (_EACH_HOUR,)),
    Declared("a", (DEBIAN, CRONIE), (_TROLL,), ("15 0-23 * * *",)),
    Declared("a", (DEBIAN,), (_NOVOSIBIRSK,), (*_TWICE, _EACH_HOUR)),
    Declared("b", (CRONIE,), (_NOVOSIBIRSK,), _NOVOSIBIRSK_DIFFERS),
    Declared("b", (CRONIE,), (_ALMATY,), _ALMATY_DIFFERS),
    Declared("b", (CRONIE,), (_APIA,), _APIA_DIFFERS),
    Declared("c", (DEBIAN,), (_APIA,), _APIA_DIFFERS),
    Declared("d", (DEBIAN, CRONIE), (CALENDAR,), ("0 5 L * *", "0 5 * * 5L", "0 5 * * 1#2")),
)

# ── windows ──

CHANGE_SECONDS = 60.0
DAY_SECONDS = 2.0


def around(change: Change) -> Window:
    """The window around a clock change: a repeated hour twice, or half an hour before a gap, and what follows."""
    before = max(-change.shift, 30 * MINUTE) + 12 * MINUTE
    after = max(-change.shift, 30 * MINUTE) + 42 * MINUTE
    templates = (CONTROL, *TEMPLATES)
    return Window(
        place=change.name,
        zone=change.zone,
        start=change.at - before - HALF,
        end=change.at + after + HALF,
        templates=templates,
        expressions=tuple(change.spelled(template) for template in templates),
        seconds=CHANGE_SECONDS,
        gap=change.at if change.shift > timedelta() else None,
    )


def on(instant: datetime) -> Window:
    """Three minutes around an instant, with the day expressions."""
    jobs = (CONTROL, *DAY_EXPRESSIONS)
    return Window(CALENDAR, "Etc/UTC", instant - 3 * HALF, instant + 3 * HALF, jobs, jobs, DAY_SECONDS)


def windows() -> list[Window]:
    """All of them."""
    return [*map(around, (*CHANGES, STEADY)), *map(on, DAYS)]
