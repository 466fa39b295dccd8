"""Clock triggers: a cron expression in a timezone with a rule for clock changes, an interval, or one instant.

The search for matches uses naive wall time; the `dst` rule then maps a match to UTC. Wall times only increase during
the search, so the search always ends.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import cast
from zoneinfo import ZoneInfo, available_timezones

from jobqueued.base.instants import LEAPING, SECOND
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.timing.cronexpr import (
    LASTING,
    SECONDS,
    Field,
    Overstep,
    Pattern,
    ScheduleError,
    drawn,
    exists,
    fields,
    oversteps,
    pattern_of,
    seconds_of,
    with_draws,
)

__all__ = ["At", "Every", "Schedule", "ScheduleError", "Seconds", "offset"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression in a timezone; `job_id` and `seed` (for example the machine ID) determine the values of `H`.

    `dst` is the rule for clock changes. `cron` follows Vixie's cron: jobs at fixed hours follow `once`, and wildcard
    jobs follow elapsed time. `once`: each wall time is due once. `both`: times of a repeated hour are due twice.
    `skip`: times of a skipped hour are not due. The expression may also be `@reboot`; then `at_boot` is true, and no
    due time exists.
    """

    expression: str
    timezone: str = "UTC"
    job_id: str = ""
    dst: str = "cron"
    seed: str = field(default="", kw_only=True, repr=False, compare=False)
    at_boot: bool = field(init=False, repr=False, compare=False)
    _pattern: Pattern = field(init=False, repr=False, compare=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _rule: "_DstRule" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise ScheduleError unless the expression, the timezone and `dst` are valid and at least one instant
        matches.
        """
        pattern = self._drawn_pattern(fields(self.expression))
        object.__setattr__(self, "at_boot", pattern is _NEVER)
        object.__setattr__(self, "_pattern", pattern)
        object.__setattr__(self, "_zone", _zone(self.timezone))
        object.__setattr__(self, "_rule", _rule(self.dst, pattern.wild))
        if not self.at_boot and self.after(LASTING) is None:
            found = f"found `{self.dst}`, but clock changes in {self.timezone} skip every match"
            raise ScheduleError("dst", f"{found}: write `once`, or another hour", "JQ302")

    def _drawn_pattern(self, texts: tuple[tuple[Field, str], ...]) -> Pattern:
        """Return the fields' pattern, with drawn numbers for `H`; redraw if the numbers result in a date that never
        exists.
        """
        return pattern_of(" ".join(self._drawn_texts(texts))) if texts else _NEVER

    def _drawn_texts(self, texts: tuple[tuple[Field, str], ...]) -> list[str]:
        owner = _owner(self.seed, self.job_id)
        for draw in range(_DRAWS):
            drawn_texts = [with_draws(field, text, owner + "\0" * draw) for field, text in texts]
            if drawn_texts == [text for _, text in texts] or exists(*drawn_texts[2:]):
                break
        return drawn_texts

    @property
    def zone(self) -> ZoneInfo:
        """The timezone with its rules; a new object after `forget_zones`."""
        return self._zone

    @property
    def is_fixed(self) -> bool:
        """True for jobs at fixed hours; False for `@reboot`, and if the minute or hour field starts with ``*``."""
        return not (self._pattern.wild or self.at_boot)

    @property
    def in_numbers(self) -> str:
        """The five fields with the drawn number for each `H`, or "" for `@reboot`."""
        return " ".join(self._drawn_texts(fields(self.expression))) if not self.at_boot else ""

    @property
    def is_drawn(self) -> bool:
        """True if the due times depend on the job, because the expression has an `H`."""
        return any(with_draws(f, text, "") != text for f, text in fields(self.expression))

    @property
    def times_of_day(self) -> tuple[int, int]:
        """The matching minutes of the hour and hours of the day, as two bit masks that are 0 for `@reboot`."""
        return self._pattern.minutes, self._pattern.hours

    @property
    def starts_in_gaps(self) -> bool:
        """True if a match in a skipped hour is due at the clock change."""
        return self._rule.in_gap

    @property
    def starts_twice(self) -> bool:
        """True if a match in a repeated hour is due twice."""
        return self._rule.repeats

    def first_within(self, begin: datetime, end: datetime) -> datetime | None:
        """Return the first matching wall time from `begin` to before `end`, or None if none matches; ignore clock
        changes.
        """
        found = self._pattern.later(begin - _TICK)
        return found if found is not None and found < end else None

    @property
    def warnings(self) -> tuple[Overstep, ...]:
        """The steps that are wider than their range, which are accepted but probably mistakes."""
        return tuple(oversteps(fields(self.expression)))

    def after(self, instant: datetime) -> datetime | None:
        """Return the first due instant after an aware `instant`, in UTC, or None if none follows in 40 years."""
        if instant.utcoffset() is None:
            raise ValueError(f"naive datetime, it needs a time zone: {instant!r}")
        if self.at_boot:
            return None
        instant = instant.astimezone(UTC)  # this converts a skipped wall time to an existing one
        wall = instant.astimezone(self._zone).replace(tzinfo=None, fold=0)
        early, late = _offsets(self._zone, wall)
        if early > late:
            return self._after_repeated(instant, wall)
        return self._first(instant, wall)

    def _first(self, instant: datetime, wall: datetime) -> datetime | None:
        """Return the first due instant after `instant` whose wall time is after `wall`.

        The caller makes sure that no repeated hour lies between `instant` and the result.
        """
        while (found := self._pattern.later(wall)) is not None:
            early, late = _offsets(self._zone, found)
            if early >= late or self._rule.in_gap:
                due = _utc(found, early) if early >= late else _change(self._zone, found)
                if due > instant:
                    return due
            wall = found
        return None

    def _after_repeated(self, instant: datetime, wall: datetime) -> datetime | None:
        """Return the first due instant after `instant`, where `wall` is the wall time of `instant` and occurs twice."""
        early, late = _offsets(self._zone, wall)
        change = _change(self._zone, wall)
        start, end = (change.replace(tzinfo=None) + offset for offset in (late, early))
        if instant < change:
            found = self._pattern.later(wall)
            if found is not None and found < end:
                return _utc(found, early)
            wall = start - _TICK
        if self._rule.repeats:
            found = self._pattern.later(wall)
            if found is not None and found < end:
                return _utc(found, late)
        return self._first(instant, end - _TICK)


def schedule_of(job: str, expression: str, timezone: str, dst: str, seed: str) -> Schedule:
    """Return a job's schedule; jobs with equal expressions without an `H` share a schedule. Raises ScheduleError."""
    if "h" in expression.lower():
        return Schedule(expression, timezone, job, dst, seed=seed)
    return _common(expression, timezone, dst)


@lru_cache(maxsize=1000)
def _common(expression: str, timezone: str, dst: str) -> Schedule:
    return Schedule(expression, timezone, dst=dst)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Several seconds of each matching minute of a `schedule`; `seconds` has the grammar of the minute field."""

    schedule: Schedule
    seconds: str
    _offsets: tuple[timedelta, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise ScheduleError unless the field is valid."""
        if self.schedule.at_boot:
            raise ScheduleError("seconds", "found `seconds` with `@reboot`: write `seconds` only with five fields")
        seconds = seconds_of(self.seconds, _owner(self.schedule.seed, self.schedule.job_id))
        object.__setattr__(self, "_offsets", tuple(timedelta(seconds=second) for second in seconds))

    @property
    def zone(self) -> ZoneInfo:
        """The timezone of the schedule."""
        return self.schedule.zone

    @property
    def starts_twice(self) -> bool:
        """The value of the schedule."""
        return self.schedule.starts_twice

    @property
    def of_a_minute(self) -> tuple[int, ...]:
        """The matching seconds of the minute, in order."""
        return tuple(offset.seconds for offset in self._offsets)

    @property
    def warnings(self) -> tuple[Overstep, ...]:
        """The schedule's warnings, and the steps in `seconds` that are too wide."""
        return (*self.schedule.warnings, *oversteps([(SECONDS, self.seconds.strip())]))

    def after(self, instant: datetime) -> datetime | None:
        """Return the first due instant after an aware `instant`, in UTC, or None if none follows in 40 years."""
        instant = instant.astimezone(UTC)
        minute = self.schedule.after(instant - _MINUTE)
        while minute is not None and minute + self._offsets[-1] <= instant:
            minute = self.schedule.after(minute)
        return None if minute is None else next(due for o in self._offsets if (due := minute + o) > instant)


@dataclass(frozen=True, slots=True)
class Every:
    """An interval: due at the aware datetime `anchor`, and then every `interval` (ns, whole seconds)."""

    interval: int
    anchor: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def __post_init__(self) -> None:
        """Raise ScheduleError unless the interval is at least one whole second."""
        if self.interval < SECOND or self.interval % SECOND:
            raise ScheduleError("every", f"found {self.interval} ns: write whole seconds, 1 or more")
        object.__setattr__(self, "anchor", self.anchor.astimezone(UTC))  # `after` must add to UTC, not to wall time

    @property
    def starts_twice(self) -> bool:
        """True, because elapsed time does not depend on wall times."""
        return True

    def after(self, instant: datetime) -> datetime:
        """Return the first due instant strictly after an aware `instant`, in UTC."""
        step = timedelta(seconds=self.interval // SECOND)
        return self.anchor + max(0, (instant - self.anchor) // step + 1) * step


@dataclass(frozen=True, slots=True)
class At:
    """One instant, as an aware datetime: due once."""

    instant: datetime

    @classmethod
    def read(cls, moment: datetime, timezone: str) -> "At":
        """Return the trigger for a datetime; a naive datetime is a wall time in the timezone.

        A skipped wall time means the instant of the clock change, and a repeated wall time means its first occurrence.
        """
        if moment.tzinfo is not None:
            return cls(moment.astimezone(UTC))
        zone = _zone(timezone)
        early, late = _offsets(zone, moment)
        return cls(_utc(moment, early) if early >= late else _change(zone, moment))

    @property
    def starts_twice(self) -> bool:
        """False, because an instant occurs only once."""
        return False

    def after(self, instant: datetime) -> datetime | None:
        """Return the due instant, or None if it is not after `instant`."""
        return self.instant if self.instant > instant else None


def forget_zones(names: list[str]) -> None:
    """Make new schedules reload these timezones' rules, because the tz database changed."""
    ZoneInfo.clear_cache(only_keys=names)
    _common.cache_clear()


def offset(window: int, job_id: str, seed: str) -> int:
    """Return the job's fixed delay (ns) from due time to start, which is at least 0 and less than `window` (ns, whole
    seconds).

    The same job and seed always have the same delay.
    """
    return drawn(_owner(seed, job_id), "spread") % max(1, window // SECOND) * SECOND


def _owner(seed: str, job_id: str) -> str:
    return f"{seed}\0{job_id}"


# ── clock changes ──


class _DstRule(NamedTuple):
    """The effect of a clock change on due times.

    `in_gap`: whether matches in a skipped hour are due at the change, once. `repeats`: whether a match in a repeated
    hour is due twice.
    """

    in_gap: bool
    repeats: bool


_RULES = {"once": _DstRule(True, False), "both": _DstRule(True, True), "skip": _DstRule(False, False)}
_ELAPSED = _DstRule(False, True)
_TICK = timedelta.resolution
_MINUTE = timedelta(minutes=1)
_DRAWS = 50
_NEVER = Pattern(0, 0, 0, (), wild=False)


def _rule(dst: str, wild: bool) -> _DstRule:
    if dst == "cron":
        return _ELAPSED if wild else _RULES["once"]
    if dst not in _RULES:
        raise ScheduleError("dst", f"found `{dst}`: write cron, once, both or skip")
    return _RULES[dst]


_ANY_ZONE = "a name of the tz database, like Europe/Berlin"


def _zone(name: str) -> ZoneInfo:
    if name.startswith(LEAPING):
        raise ScheduleError("timezone", f"found {name!a}: write {name.removeprefix(LEAPING)!a}")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # OSError: the name is a directory in the database, such as "Europe".
        raise ScheduleError("timezone", f"found {name!a}: write {similar_zones(name) or _ANY_ZONE}") from None


@cache
def zones() -> tuple[str, ...]:
    """Return the names of all timezones in the tz database, sorted."""
    return tuple(sorted(available_timezones()))


_ABBREVIATIONS = {
    "CEST": "Europe/Berlin", "MEZ": "Europe/Berlin", "MESZ": "Europe/Berlin", "BST": "Europe/London",
    "WEST": "Europe/Lisbon", "EEST": "Europe/Athens", "MSK": "Europe/Moscow", "EDT": "America/New_York",
    "CST": "America/Chicago", "CDT": "America/Chicago", "MDT": "America/Denver", "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles", "IST": "Asia/Kolkata", "JST": "Asia/Tokyo", "KST": "Asia/Seoul",
    "AEST": "Australia/Sydney", "AEDT": "Australia/Sydney", "NZST": "Pacific/Auckland", "NZDT": "Pacific/Auckland",
    "Z": "UTC", "ZULU": "UTC",
}  # fmt: skip
"""Abbreviation that is absent from the tz database → the usual timezone."""
_AHEAD = r"(?a)(?:UTC|GMT)?([-+])0?(\d{1,2})(?::?00)?"


@lru_cache(maxsize=1024)
def similar_zones(name: str) -> str:
    """Return a string with the timezones that an unknown name may mean, or "" if there is no guess."""
    wanted = name.strip().casefold().replace(" ", "_")
    if name.upper() in _ABBREVIATIONS:
        return _ABBREVIATIONS[name.upper()]
    if (ahead := re.fullmatch(_AHEAD, name.upper())) and int(ahead[2]) <= 12:
        sign = "-" if ahead[1] == "+" else "+"  # in POSIX, west is positive
        return f"Etc/GMT{sign}{int(ahead[2])}, which is UTC{ahead[1]}{int(ahead[2])}" if int(ahead[2]) else "UTC"
    same = [zone for zone in zones() if zone.casefold() == wanted or wanted.endswith(f"/zoneinfo/{zone.casefold()}")]
    city = wanted.rpartition("/")[2]
    return " or ".join((same or [zone for zone in zones() if zone.casefold().rpartition("/")[2] == city])[:3])


def _offsets(zone: ZoneInfo, wall: datetime) -> tuple[timedelta, timedelta]:
    """Return the UTC offsets of a wall time for fold 0 and fold 1 (PEP 495). The first offset is smaller in a gap, and
    larger in a repeated hour.
    """
    early, late = zone.utcoffset(wall), zone.utcoffset(wall.replace(fold=1))
    return cast("tuple[timedelta, timedelta]", (early, late))


def _utc(wall: datetime, offset: timedelta) -> datetime:
    return (wall - offset).replace(tzinfo=UTC)


def _change(zone: ZoneInfo, wall: datetime) -> datetime:
    """Return the instant of the clock change whose gap or repeated hour contains `wall`.

    The function searches for this instant, because zoneinfo does not list changes.
    """
    early, late = _offsets(zone, wall)
    low, high = sorted((_utc(wall.replace(microsecond=0), early), _utc(wall.replace(microsecond=0), late)))

    def changed(second: int) -> bool:
        return (low + timedelta(seconds=second)).astimezone(zone).utcoffset() != early

    return low + timedelta(seconds=bisect_left(range((high - low) // timedelta(seconds=1)), True, key=changed))
