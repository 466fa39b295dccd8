"""When a job is due: by a cron expression in a time zone, under a rule for clock changes, or by elapsed time.

Matches are searched on naive wall time and mapped to UTC by the `dst` rule.  Wall times only ever grow in that search,
so it cannot loop.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo, available_timezones

from jobqueued.cronexpr import LASTING, Pattern, ScheduleError, fields, overstep, pattern_of, settled

__all__ = ["Every", "Schedule", "ScheduleError"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression in a zone; `job_id` and `seed` (say, the machine id) settle what its `H` stand for.

    `dst` says what a clock change does to it: `cron` (as Vixie: jobs at fixed hours as `once`, wildcard jobs by elapsed
    time), `once` (each wall time once), `both` (those of a repeated hour twice), `skip` (none for a skipped hour).
    """

    expression: str
    timezone: str = "UTC"
    job_id: str = ""
    dst: str = "cron"
    seed: str = field(default="", kw_only=True, repr=False, compare=False)
    _pattern: Pattern = field(init=False, repr=False, compare=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _rule: "_Rule" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise ScheduleError unless all of it is understood and some instant matches."""
        texts = [settled(f, text, f"{self.seed}\0{self.job_id}") for f, text in fields(self.expression)]
        pattern = pattern_of(" ".join(texts))
        object.__setattr__(self, "_pattern", pattern)
        object.__setattr__(self, "_zone", _zone(self.timezone))
        object.__setattr__(self, "_rule", _rule(self.dst, pattern.wild))
        if self.after(LASTING) is None:
            raise ScheduleError("dst", f"the clock skips each match in {self.timezone}: write `once`, or another hour")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is accepted but hardly meant: steps wider than what they step through."""
        items = ((f, item) for f, text in fields(self.expression) for item in text.split(",") if "/" in item)
        return tuple(warning for f, item in items if (warning := overstep(f, item)))

    def after(self, instant: datetime) -> datetime | None:
        """Return the first due instant strictly later than an aware `instant`, in UTC; None if 40 years have none."""
        if instant.utcoffset() is None:
            raise ValueError(f"naive datetime, it needs a time zone: {instant!r}")
        wall = instant.astimezone(self._zone).replace(tzinfo=None, fold=0)
        early, late = _offsets(self._zone, wall)
        if early > late:
            return self._after_repeated(instant, wall)
        return self._first(instant, wall)

    def _first(self, instant: datetime, wall: datetime) -> datetime | None:
        """Find the first match later than both, if no repeated hour lies between `wall` and `instant`."""
        while (found := self._pattern.later(wall)) is not None:
            early, late = _offsets(self._zone, found)
            if early >= late or self._rule.in_gap:
                due = _utc(found, early) if early >= late else _change(self._zone, found)
                if due > instant:
                    return due
            wall = found
        return None

    def _after_repeated(self, instant: datetime, wall: datetime) -> datetime | None:
        """Find the first match later than `instant`, whose wall time `wall` is one that occurs twice."""
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


@dataclass(frozen=True, slots=True)
class Every:
    """Each multiple of `interval` (ns, whole seconds) of elapsed time since 1970-01-01T00:00Z."""

    interval: int

    def after(self, instant: datetime) -> datetime:
        """The first due instant strictly later than an aware `instant`, in UTC."""
        step = timedelta(microseconds=self.interval // 1000)
        return _EPOCH + ((instant - _EPOCH) // step + 1) * step


# ── clock changes ──


class _Rule(NamedTuple):
    """What a clock change does: does a match in a gap run (once, at the change), and one in a repeated hour twice?"""

    in_gap: bool
    repeats: bool


_RULES = {"once": _Rule(True, False), "both": _Rule(True, True), "skip": _Rule(False, False)}
_ELAPSED = _Rule(False, True)
_TICK = timedelta.resolution
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _rule(dst: str, wild: bool) -> _Rule:
    if dst == "cron":
        return _ELAPSED if wild else _RULES["once"]
    if dst not in _RULES:
        raise ScheduleError("dst", f"found `{dst}`: write cron, once, both or skip")
    return _RULES[dst]


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # OSError: a directory of the database, like "Europe".
        raise ScheduleError("timezone", f"found {name!a}: write {_similar_zones(name)}") from None


def _similar_zones(name: str) -> str:
    city = name.casefold().replace(" ", "_").rpartition("/")[2]
    similar = sorted(zone for zone in available_timezones() if zone.casefold().rpartition("/")[2] == city)
    return " or ".join(similar[:3]) or "a name of the tz database, like Europe/Berlin"


def _offsets(zone: ZoneInfo, wall: datetime) -> tuple[timedelta, timedelta]:
    """Return the offsets of a wall time by fold (PEP 495): in a gap the first is less, in a repeated hour more."""
    early, late = zone.utcoffset(wall), zone.utcoffset(wall.replace(fold=1))
    return cast("tuple[timedelta, timedelta]", (early, late))


def _utc(wall: datetime, offset: timedelta) -> datetime:
    return (wall - offset).replace(tzinfo=UTC)


def _change(zone: ZoneInfo, wall: datetime) -> datetime:
    """Return the instant of the clock change in whose gap or fold `wall` lies (zoneinfo does not list its changes)."""
    early, late = _offsets(zone, wall)
    low, high = sorted((_utc(wall.replace(microsecond=0), early), _utc(wall.replace(microsecond=0), late)))

    def changed(second: int) -> bool:
        return (low + timedelta(seconds=second)).astimezone(zone).utcoffset() != early

    return low + timedelta(seconds=bisect_left(range((high - low) // timedelta(seconds=1)), True, key=changed))
