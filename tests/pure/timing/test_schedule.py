"""Schedules: grammar, day fields, clock changes, `H`.

The oracles are plain sets, a walk minute by minute, tables worked out by hand, and cronsim.
"""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import Trigger
from jobqueued.timing.cronexpr import seconds_of
from jobqueued.timing.schedule import At, Every, Schedule, ScheduleError, Seconds, offset

RULES = ("cron", "once", "both", "skip")
MINUTE = timedelta(minutes=1)
TICK = timedelta.resolution


def utc(text: str) -> datetime:
    """Read `2026-03-29 01:00` as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def walk(schedule: Trigger, start: datetime) -> Iterator[datetime]:
    """Follow a schedule from due instant to due instant."""
    while (instant := schedule.after(start)) is not None:
        yield instant
        start = instant


def until(schedule: Schedule, start: datetime, stop: datetime) -> list[datetime]:
    """List what is due later than start and not later than stop."""
    return list(takewhile(lambda instant: instant <= stop, walk(schedule, start)))


# ── the grammar's fields, each drawn together with the set it means ──


class Field(NamedTuple):
    """The text of one field and its values."""

    text: str
    values: frozenset[int]


def items(low: int, high: int) -> st.SearchStrategy[Field]:
    """Draw one item of a field: a number, a range, a range with a step."""
    bounds = (
        st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted).filter(lambda pair: pair[0] < pair[1])
    )
    return st.one_of(
        st.integers(low, high).map(lambda n: Field(f"{n}", frozenset({n}))),
        bounds.map(lambda pair: Field(f"{pair[0]}-{pair[1]}", frozenset(range(pair[0], pair[1] + 1)))),
        st.tuples(bounds, st.integers(1, 70)).map(
            lambda drawn: Field(
                f"{drawn[0][0]}-{drawn[0][1]}/{drawn[1]}", frozenset(range(drawn[0][0], drawn[0][1] + 1, drawn[1]))
            )
        ),
    )


def lists(low: int, high: int) -> st.SearchStrategy[Field]:
    """Draw a field that does not start with a star."""
    return st.lists(items(low, high), min_size=1, max_size=3).map(
        lambda found: Field(",".join(f.text for f in found), frozenset().union(*(f.values for f in found)))
    )


def stars(low: int, high: int) -> st.SearchStrategy[Field]:
    """Draw a field that starts with a star."""
    return st.integers(1, 40).map(
        lambda step: Field("*" if step == 1 else f"*/{step}", frozenset(range(low, high + 1, step)))
    )


def fields(low: int, high: int) -> st.SearchStrategy[Field]:
    """Draw any field of plain items."""
    return stars(low, high) | lists(low, high)


TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
SHIFTING = st.sampled_from(["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Antarctica/Troll"])
WEEKDAYS = lists(0, 7) | st.sampled_from(["5#2", "1#5", "5L", "0L", "7L", "1,3#1"]).map(lambda t: Field(t, frozenset()))
DATES = lists(1, 31) | st.sampled_from(["L", "1,L"]).map(lambda t: Field(t, frozenset()))


@given(st.tuples(fields(0, 59), fields(0, 23), fields(1, 12)), SHIFTING, st.sampled_from(RULES), TIMES)
@settings(max_examples=300, deadline=None)
def test_next_is_later_and_matches(drawn: tuple[Field, ...], zone: str, dst: str, start: datetime) -> None:
    """The next instant is strictly later, in UTC, and matches in wall time unless the clock changes right then."""
    minute, hour, month = drawn
    schedule = Schedule(f"{minute.text} {hour.text} * {month.text} *", zone, dst=dst)
    for instant in islice(walk(schedule, start), 5):
        wall, before = instant.astimezone(ZoneInfo(zone)), (instant - TICK).astimezone(ZoneInfo(zone))
        changes = wall.utcoffset() != before.utcoffset()
        matches = wall.minute in minute.values and wall.hour in hour.values and wall.month in month.values
        assert instant > start
        assert UTC is instant.tzinfo
        assert (0, 0) == (instant.second, instant.microsecond)
        assert matches or (changes and dst != "skip")
        start = instant


def as_cronsim(expression: str, zone: str, start: datetime, count: int) -> list[datetime]:
    """Let cronsim find what is due, as UTC."""
    return [t.astimezone(UTC) for t in islice(CronSim(expression, start.astimezone(ZoneInfo(zone))), count)]


@given(st.tuples(fields(0, 59), fields(0, 23), fields(1, 31) | DATES, fields(1, 12), fields(0, 6) | WEEKDAYS), TIMES)
@settings(max_examples=300, deadline=None)
def test_dates_as_cronsim(drawn: tuple[Field, ...], start: datetime) -> None:
    """In UTC every expression gives the instants that cronsim gives."""
    expression = " ".join(f.text for f in drawn)
    try:
        schedule = Schedule(expression)
    except ScheduleError as error:
        assume(error.field != "day of month")
        raise
    try:
        theirs = as_cronsim(expression, "UTC", start, 5)
    except CronSimError:  # of days that no month has, beside days of the week
        assume(drawn[2].values and max(drawn[2].values) <= 28)
        raise
    assert theirs == list(islice(walk(schedule, start), 5))


# ── clock changes ──


class Change(NamedTuple):
    """A clock change of a zone: its instant, the offset before it and after it."""

    at: datetime
    before: timedelta
    after: timedelta


def changes(zone: ZoneInfo, start: datetime, stop: datetime) -> list[Change]:
    """List the clock changes of a zone, found by looking at each ninth day."""
    found = []
    while start < stop:
        low, start = start, start + timedelta(days=9)
        before, after = low.astimezone(zone).utcoffset(), start.astimezone(zone).utcoffset()
        assert before is not None
        assert after is not None
        if before != after:
            high = start
            while high - low > MINUTE:
                middle = low + (high - low) // (2 * MINUTE) * MINUTE
                low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
            found.append(Change(high, before, after))
    return found


@given(lists(0, 59), lists(0, 23), st.sampled_from(["*", "*/2", "29-31", "L"]), SHIFTING, TIMES)
@settings(max_examples=300, deadline=None)
def test_clock_changes_as_cronsim(minute: Field, hour: Field, day: str, zone: str, start: datetime) -> None:
    """A job at fixed hours meets the clock changes of a year at the instants that cronsim gives.

    Started at noon UTC, where no zone is inside a fold: cronsim reads such a start as a naive wall time. Both of us
    run several matches of one gap once; real cron starts each of them, and we differ from it on purpose.
    """
    expression = f"{minute.text} {hour.text} {day} 3,4,9-11 *"
    schedule = Schedule(expression, zone)
    for change in changes(ZoneInfo(zone), start, start + timedelta(days=366)):
        noon = change.at.replace(hour=12, minute=0) - timedelta(days=2)
        assert as_cronsim(expression, zone, noon, 30) == list(islice(walk(schedule, noon), 30))


# Zone, start in UTC, expression, and under which rules which days and times, in UTC, are due next.
BERLIN_SPRING = ("Europe/Berlin", "2026-03-29 00:40")  # 02:00 → 03:00 at 01:00Z
BERLIN_AUTUMN = ("Europe/Berlin", "2026-10-24 23:40")  # 03:00 → 02:00 at 01:00Z
HOWE_SPRING = ("Australia/Lord_Howe", "2026-10-03 14:00")  # 02:00 → 02:30 at 15:30Z
HOWE_AUTUMN = ("Australia/Lord_Howe", "2026-04-04 14:00")  # 02:00 → 01:30 at 15:00Z
TROLL_SPRING = ("Antarctica/Troll", "2015-03-29 00:00")  # 01:00 → 03:00 at 01:00Z
TROLL_AUTUMN = ("Antarctica/Troll", "2015-10-24 23:00")  # 03:00 → 01:00 at 01:00Z
HAVANA_SPRING = ("America/Havana", "2015-03-08 00:00")  # 00:00 → 01:00 at 05:00Z
HAVANA_AUTUMN = ("America/Havana", "2015-10-31 12:00")  # 01:00 → 00:00 at 05:00Z
CAIRO_SPRING = ("Africa/Cairo", "2023-04-27 12:00")  # 00:00 → 01:00 at 22:00Z
CAIRO_AUTUMN = ("Africa/Cairo", "2023-10-26 12:00")  # 24:00 → 23:00 at 21:00Z
APIA = ("Pacific/Apia", "2011-12-29 23:00")  # no 30 December: from the 29th to the 31st at 10:00Z
CLOCK_CHANGES = [
    (*BERLIN_SPRING, "30 2 * * *", {"cron once both": "29 01:00, 30 00:30", "skip": "30 00:30"}),
    (*BERLIN_SPRING, "10,30 2 * * *", {"cron once both": "29 01:00, 30 00:10", "skip": "30 00:10"}),
    (*BERLIN_SPRING, "0 */2 * * *", {"once both": "29 01:00, 29 02:00", "cron skip": "29 02:00"}),
    (*BERLIN_SPRING, "*/15 2 * * *", {"once both": "29 01:00, 30 00:00", "cron skip": "30 00:00"}),
    (*BERLIN_SPRING, "5,*/15 2 * * *", {"cron once both": "29 01:00, 30 00:00", "skip": "30 00:00"}),
    (*BERLIN_SPRING, "*/15 * * * *", {"cron once both skip": "29 00:45, 29 01:00, 29 01:15"}),
    (*BERLIN_AUTUMN, "30 2 * * *", {"cron once skip": "25 00:30, 26 01:30", "both": "25 00:30, 25 01:30, 26 01:30"}),
    (*BERLIN_AUTUMN, "0 */2 * * *", {"cron both": "25 00:00, 25 01:00, 25 03:00", "once skip": "25 00:00, 25 03:00"}),
    (*BERLIN_AUTUMN, "*/45 * * * *", {"cron both": "24 23:45, 25 00:00, 25 00:45, 25 01:00, 25 01:45, 25 02:00"}),
    (*BERLIN_AUTUMN, "*/45 * * * *", {"once skip": "24 23:45, 25 00:00, 25 00:45, 25 02:00"}),
    (*HOWE_SPRING, "15 2 * * *", {"cron once both": "03 15:30, 04 15:15", "skip": "04 15:15"}),
    (*HOWE_AUTUMN, "45 1 * * *", {"cron once skip": "04 14:45, 05 15:15", "both": "04 14:45, 04 15:15, 05 15:15"}),
    (*TROLL_SPRING, "30 1,2 * * *", {"cron once both": "29 01:00, 29 23:30", "skip": "29 23:30"}),
    (*TROLL_AUTUMN, "30 1,2 * * *", {"both": "24 23:30, 25 00:30, 25 01:30, 25 02:30, 26 01:30"}),
    (*TROLL_AUTUMN, "30 1,2 * * *", {"cron once skip": "24 23:30, 25 00:30, 26 01:30"}),
    (*HAVANA_SPRING, "0 0 * * *", {"cron once both": "08 05:00, 09 04:00", "skip": "09 04:00"}),
    (*HAVANA_AUTUMN, "0 0 * * *", {"cron once skip": "01 04:00, 02 05:00", "both": "01 04:00, 01 05:00, 02 05:00"}),
    (*CAIRO_SPRING, "0 0 * * *", {"cron once both": "27 22:00, 28 21:00", "skip": "28 21:00"}),
    (*CAIRO_AUTUMN, "30 23 * * *", {"cron once skip": "26 20:30, 27 21:30", "both": "26 20:30, 26 21:30, 27 21:30"}),
    (*APIA, "0 12 * * *", {"cron once both": "30 10:00, 30 22:00", "skip": "30 22:00"}),
    (*APIA, "0 1-23/12 * * *", {"cron once both": "30 10:00, 30 11:00", "skip": "30 11:00"}),
    (*APIA, "0 12 30 12 *", {"cron once both": "30 10:00, 29 22:00", "skip": "29 22:00"}),
]


@pytest.mark.parametrize(("zone", "start", "expression", "due"), CLOCK_CHANGES)
def test_clock_change(zone: str, start: str, expression: str, due: dict[str, str]) -> None:
    """The documented clock changes come out as written down, under each of the four rules."""
    for dst, expected in ((dst, instants) for rules, instants in due.items() for dst in rules.split()):
        found = islice(walk(Schedule(expression, zone, dst=dst), utc(start)), expected.count(",") + 1)
        assert (dst, expected) == (dst, ", ".join(f"{instant:%d %H:%M}" for instant in found))


def test_offsets_with_seconds() -> None:
    """A change between offsets that have seconds is found to the second, from an instant with microseconds too."""
    # Amsterdam went from +1:19:32 to +0:19:32 at 01:40:28Z, from 03:00 to 02:00.
    schedule = Schedule("30 2 * * *", "Europe/Amsterdam", dst="both")
    due = [utc("1936-10-04 01:10:28"), utc("1936-10-04 02:10:28"), utc("1936-10-05 02:10:28")]
    assert due == list(islice(walk(schedule, utc("1936-10-04 00:50:00.250000")), 3))
    assert due[1:] == list(islice(walk(schedule, due[0] + timedelta(microseconds=250000)), 2))


# ── days ──


# What is due in February 2026, which begins on a Sunday and has 28 days.
@pytest.mark.parametrize(
    ("day_fields", "expected"),
    [
        ("10 * fri", [6, 10, 13, 20, 27]),
        ("*/5 * fri", [6]),
        ("10,15,20 * */5", [15, 20]),
        ("1-31/5 * fri", [1, 6, 11, 13, 16, 20, 21, 26, 27]),
        ("27,*/5 * sat", [1, 6, 7, 11, 14, 16, 21, 26, 27, 28]),
        ("10 * *", [10]),
        ("L * mon", [2, 9, 16, 23, 28]),
        ("1,L * *", [1, 28]),
        ("* * fri#2", [13]),
        ("10 * 1#1,5L", [2, 10, 27]),
        ("* * FriL,1", [2, 9, 16, 23, 27]),
        ("*/2 * 5l", [27]),
        ("* * 7", [1, 8, 15, 22]),
        ("* * 0", [1, 8, 15, 22]),
        ("* * 7#1,7L", [1, 22]),
        ("* * 5-7", [1, 6, 7, 8, 13, 14, 15, 20, 21, 22, 27, 28]),
        ("* * SUN-tue/2", [1, 3, 8, 10, 15, 17, 22, 24]),
        ("5-5 JAN-mar *", [5]),
        ("30-31 * *", []),
        ("* * 1#5", []),
        ("* mar-DEC *", []),
    ],
)
def test_days(day_fields: str, expected: list[int]) -> None:
    """The day fields are ANDed if either starts with a star, else ORed, and `L`, `#` and names are days like any."""
    schedule = Schedule(f"0 12 {day_fields}")
    due = until(schedule, utc("2026-02-01"), utc("2026-03-01"))
    assert expected == [instant.day for instant in due]


def test_last_days() -> None:
    """`L` is the last day of each month, in leap years too, and the fifth weekday comes only where there is one."""
    ends = until(Schedule("0 0 L 2 *"), utc("2023-01-01"), utc("2026-01-01"))
    assert [utc("2023-02-28"), utc("2024-02-29"), utc("2025-02-28")] == ends
    fifths = until(Schedule("0 0 * * 1#5"), utc("2026-01-01"), utc("2026-09-01"))
    assert [utc("2026-03-30"), utc("2026-06-29"), utc("2026-08-31")] == fifths


def test_forty_years() -> None:
    """The longest wait of the calendar, 40 years for a leap day on a Sunday across 2100, is found."""
    schedule = Schedule("0 0 29 2 */7")
    assert [utc("2088-02-29"), utc("2128-02-29")] == list(islice(walk(schedule, utc("2060-02-29")), 2))


def test_end_of_time() -> None:
    """Where datetime ends, nothing is due any more."""
    assert None is Schedule("0 0 1 1 *").after(utc("9999-01-01"))


@pytest.mark.parametrize("day_fields", ["30 2 *", "31 4,6,9,11 *", "30,31 feb */2", "*/31 2 1#5"])
def test_impossible_dates(day_fields: str) -> None:
    """A date that no month has is refused when it is read, not when it is waited for."""
    with pytest.raises(ScheduleError, match="no date in 40 years") as caught:
        Schedule(f"0 0 {day_fields}")
    assert "day of month" == caught.value.field


@pytest.mark.parametrize(("expression", "dst"), [("30 2 * 3 0L", "skip"), ("*/15 2 * 3 0L", "cron")])
def test_only_in_gaps(expression: str, dst: str) -> None:
    """A job all of whose matches fall into gaps is refused under a rule that does not run those."""
    with pytest.raises(ScheduleError, match="skip every match") as caught:
        Schedule(expression, "Europe/Berlin", dst=dst)
    assert "dst" == caught.value.field
    assert utc("2026-03-29 01:00") == Schedule(expression, "Europe/Berlin", dst="once").after(utc("2026-01-01"))


# ── spellings ──


@pytest.mark.parametrize(
    ("alias", "fields"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@ANNUALLY", "0 0 1 1 *"),
        ("  05\t5-5 * jan-DEC  Sun-Sat ", "5 5 * * *"),
        ("*/1 *,3 1-31 * 0-7", "* * * * *"),
    ],
)
def test_same_meaning(alias: str, fields: str) -> None:
    """An alias, and any other way to write the same sets, is due at the same instants."""
    start, stop = utc("2026-11-24 15:38"), utc("2028-02-01")
    expected = list(takewhile(lambda instant: instant < stop, islice(walk(Schedule(fields), start), 3000)))
    assert expected == list(takewhile(lambda instant: instant < stop, islice(walk(Schedule(alias), start), 3000)))


@pytest.mark.parametrize(
    ("expression", "field", "advice"),
    [
        ("0 0 * * fri-sun", "day of week", "found `fri-sun`: write `fri,sat,sun`"),
        ("0 0 * * mon-sun", "day of week", "write `mon,tue,wed,thu,fri,sat,sun`"),
        ("0 0 * * 5-0", "day of week", "write `5,6,0`"),
        ("0 22-4/2 * * *", "hour", "write `22,0,2,4`"),
        ("0 0 * nov-feb *", "month", "write `nov,dec,jan,feb`"),
        ("*/10 * * * * *", "expression", 'write `schedule: "* * * * *"` and `seconds: "*/10"`'),
        ("0 0 1 1 * 5", "expression", 'write `schedule: "0 1 1 * 5"` and `seconds: "0"`'),
        ("0 0 1 1 * * 2030", "expression", "found 7 fields"),
        ("0 0 * *", "expression", "found 4 fields: write five"),
        ("", "expression", "found 0 fields: write five"),
        ("@reboot 5", "expression", "@annually @reboot"),
        ("@every 5m", "expression", "like `every: 5m`"),
        ("@every_minute", "expression", "like `every: 1m`"),
        ("0 2 * * * root", "expression", "found `root` after the five fields: write a user under `user`"),
        ("0 2 * * * /bin/x -y", "expression", "found `/bin/x -y` after the five fields"),
        ("CRON_TZ=UTC 0 2 * * *", "expression", "write a zone under `timezone`"),
        ("0 2 * * 1, 5", "expression", "write commas without spaces"),
        ("0 2 * * *; 0 3 * * *", "expression", "write several expressions as a list"),
        ("0 0 * * Monday", "day of week", "found `Monday`: write `mon`"),
        ("0 0 5L * *", "day of month", "found `5L`: "),
        ("@noon", "expression", "write one of @hourly @daily"),
        ("0 0 ? * 1", "day of month", "found `?`: write `*`"),
        ("0 0 15W * *", "day of month", "write the day itself"),
        ("0 0 LW * *", "day of month", "write `L`, or `25-31`"),
        ("0 0 L-2 * *", "day of month", "write `L` for the last day, or `25-31`"),
        ("0 0 5L * *", "day of month", "write this in the day of week field, or `L`"),
        ("0 0 20-L * *", "day of month", "write the number of the last day"),
        ("0 0 1#2 * *", "day of month", "in the day of week field"),
        ("0 0 L, * *", "day of month", "remove the stray comma"),
        ("0 0 * * L", "day of week", "like `6L`"),
        ("0 0 * * L5", "day of week", "like `5L`"),
        ("0 0 * * 1#6", "day of week", "`#` and 1 to 5"),
        ("0 0 * * 1-5#2", "day of week", "`#` and 1 to 5"),
        ("0 0 * * monda1", "day of week", "write 0 to 7 or sun to sat"),
        ("0 0 * * 8", "day of week", "write 0 to 7"),
        ("0 0 * * 8L", "day of week", "write"),
        ("0 0 * 0 *", "month", "found `0`: write 1 to 12 or jan to dec"),
        ("0 0 0 * *", "day of month", "write 1 to 31"),
        ("0 24 * * *", "hour", "write 0 to 23"),
        ("60 * * * *", "minute", "write 0 to 59"),
        ("5/15 * * * *", "minute", "write `5-59/15`, or `5`"),
        ("*/0 * * * *", "minute", "a step of 1 or more"),
        ("1,,2 * * * *", "minute", "remove the stray comma"),
        ("-5 * * * *", "minute", "found `-5`: write 0 to 59"),
        ("1.5 * * * *", "minute", "write 0 to 59"),
        ("mon * * * *", "minute", "write 0 to 59"),
        ("0~9 * * * *", "minute", "write `H` or `H(a-b)`"),
        ("R * * * *", "minute", "write `H` or `H(a-b)`"),
        ("H(5) * * * *", "minute", "write `H`, or `H(1-5)`"),
        ("H(9-3) * * * *", "minute", "write `H`, or `H(1-5)`"),
        ("H(50-70)/5 * * * *", "minute", "write `H`, or `H(1-5)`"),
        ("H/0 * * * *", "minute", "a step of 1 or more"),
        ("\u0663 * * * *", "expression", "write plain ASCII"),
        ("0\xa05 * * * *", "expression", "write plain ASCII"),
        ("5\x1b[2J * * * *", "expression", "write plain ASCII"),
        ("9" * 500 + " * * * *", "minute", "write 0 to 59"),
            ("9" * 5000 + " * * * *", "expression", "found 5008 characters: write at most 1000"),
            ("0 5\xa0* * *", "expression", "write `0 5 * * *`"),
    ],
)  # fmt: skip
def test_refused(expression: str, field: str, advice: str) -> None:
    """What is not in the grammar is refused with the field, what was found, and what to write instead."""
    with pytest.raises(ScheduleError) as caught:
        Schedule(expression)
    assert field == caught.value.field
    assert advice in caught.value.reason
    assert f"{field}: {caught.value.reason}" == str(caught.value)


@given(st.text(alphabet="0123456789*/-,#LHlhw?()@ \tjanmosu", max_size=24))
@settings(max_examples=200, deadline=None)
def test_any_text(text: str) -> None:
    """Any text is a schedule or a ScheduleError, and nothing else is raised."""
    try:
        schedule = Schedule(text)
    except ScheduleError:
        return
    assert schedule.after(utc("2026-01-01")) is not None


@pytest.mark.parametrize(
    ("zone", "advice"),
    [
        ("europe/berlin", "write Europe/Berlin"),
        ("New York", "write America/New_York"),
        ("Mars/Olympus", "like Europe/Berlin"),
        ("right/Europe/Berlin", "write 'Europe/Berlin'"),
        ("Europe", "like Europe/Berlin"),
        ("../../etc/passwd", "like Europe/Berlin"),
        ("", "like Europe/Berlin"),
    ],
)
def test_unknown_zone(zone: str, advice: str) -> None:
    """An unknown zone is refused with those whose city is spelled so."""
    with pytest.raises(ScheduleError) as caught:
        Schedule("@daily", zone)
    assert "timezone" == caught.value.field
    assert advice in caught.value.reason


def test_unknown_rule() -> None:
    """An unknown dst rule is refused with the known ones."""
    with pytest.raises(ScheduleError, match="dst: found `never`: write cron, once, both or skip"):
        Schedule("@daily", dst="never")


def test_warnings() -> None:
    """A step above the width of what it steps through is accepted with a warning, one of just the width without."""
    assert () == Schedule("*/60 H/24 1-10/10 */12 */7").warnings
    warned = Schedule("*/61 0-3/5 H(1-10)/11 * */8").warnings
    assert ["minute", "hour", "day of month", "day of week"] == [warning.field for warning in warned]
    assert "`0-3/5`" in str(warned[1])


# ── H ──


def minutes_of(expression: str, job_id: str, seed: str = "") -> list[int]:
    """List the minutes of the hour at which a job is due."""
    due = until(Schedule(expression, job_id=job_id, seed=seed), utc("2026-01-01") - TICK, utc("2026-01-01 00:59"))
    return [instant.minute for instant in due]


@pytest.mark.parametrize(("seed", "expected"), [("", "2026-12-09 02:01"), ("host", "2026-10-14 12:45")])
def test_hash_is_stable(seed: str, expected: str) -> None:
    """What a job draws never changes: not with the version of anything, nor from process to process."""
    assert utc(expected) == Schedule("H H H H *", job_id="backup", seed=seed).after(utc("2026-01-01"))


@given(st.text(max_size=8), st.integers(0, 58), st.integers(1, 90), st.data())
@settings(max_examples=200, deadline=None)
def test_hash_in_range(job_id: str, low: int, step: int, data: st.DataObject) -> None:
    """`H(a-b)` is one value of its range, and `H(a-b)/s` begins within the first step and goes on by it."""
    high = data.draw(st.integers(low + 1, 59))
    (drawn,) = minutes_of(f"H({low}-{high}) * * * *", job_id)
    assert low <= drawn <= high
    stepped = minutes_of(f"H({low}-{high})/{step} * * * *", job_id)
    assert low <= stepped[0] < low + step
    assert list(range(stepped[0], high + 1, step)) == stepped


def test_hash_spreads() -> None:
    """A thousand jobs reach every minute, day 1 to 28, weekday and start of a step, and another seed moves them."""
    due = [Schedule("H 0 H * *", job_id=f"job{n}").after(utc("2026-01-01") - TICK) for n in range(1000)]
    week = [Schedule("0 0 * * H", job_id=f"job{n}").after(utc("2026-02-01") - TICK) for n in range(100)]
    assert set(range(60)) == {instant.minute for instant in due if instant}
    assert set(range(1, 29)) == {instant.day for instant in due if instant}
    assert set(range(1, 8)) == {instant.day for instant in week if instant}
    assert set(range(10)) == {minutes_of("H/10 * * * *", f"job{n}")[0] for n in range(100)}
    assert minutes_of("H * * * *", "job1", "host1") != minutes_of("H * * * *", "job1", "host2")


# ── the object ──


def test_naive_instant() -> None:
    """A naive datetime is a mistake of the caller and is refused."""
    with pytest.raises(ValueError, match="naive"):
        Schedule("* * * * *").after(datetime(2026, 1, 1))


def test_instant_in_any_zone() -> None:
    """The instant counts, not the zone in which it is given, also in a repeated hour."""
    schedule = Schedule("*/30 * * * *", "Europe/Berlin")
    second = datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    assert utc("2026-10-25 01:30") == schedule.after(second)
    assert utc("2026-10-25 00:30") == schedule.after(second.replace(fold=0))


def test_strictly_later() -> None:
    """A due instant is not its own successor, and any microsecond before it is early enough to reach it."""
    schedule = Schedule("0 12 * * *")
    noon = utc("2026-01-01 12:00")
    assert noon == schedule.after(noon - TICK)
    assert utc("2026-01-02 12:00") == schedule.after(noon)
    repeated = Schedule("0 2 * * *", "Europe/Berlin", dst="both")
    assert utc("2026-10-25 01:00") == repeated.after(utc("2026-10-25 00:59:59.999999"))


def test_value() -> None:
    """A schedule is an immutable value that equals another of the same expression, zone, rule and job."""
    schedule = Schedule("@daily", "Europe/Berlin", "backup", "once")
    assert Schedule("@daily", timezone="Europe/Berlin", job_id="backup", dst="once") == schedule
    assert 1 == len({schedule, Schedule("@daily", "Europe/Berlin", "backup", "once")})
    others = {Schedule("@daily"), Schedule("@weekly"), Schedule("@daily", "Asia/Tokyo"), Schedule("@daily", "UTC", "b")}
    assert 5 == len(others | {Schedule("@daily", dst="skip")})
    assert "Schedule(expression='@daily', timezone='Europe/Berlin', job_id='backup', dst='once')" == repr(schedule)
    with pytest.raises(FrozenInstanceError):
        schedule.dst = "skip"  # type: ignore[misc]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.integers(1, 10**6))
def test_every_is_a_multiple_of_its_interval(instant: datetime, seconds: int) -> None:
    """`every` is due at the next multiple of its interval since 1970, strictly later, at most one interval away."""
    due = Every(seconds * 10**9).after(instant)
    assert (due - datetime(1970, 1, 1, tzinfo=UTC)) % timedelta(seconds=seconds) == timedelta(0)
    assert timedelta(0) < due - instant <= timedelta(seconds=seconds)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.integers(1, 10**6))
def test_every_counts_from_its_anchor(instant: datetime, seconds: int) -> None:
    """With an anchor in any zone `every` is due there, and at whole intervals from there."""
    anchor = datetime(2027, 1, 31, 2, 0, 7, tzinfo=ZoneInfo("Europe/Berlin"))
    due = Every(seconds * 10**9, anchor).after(instant)
    assert (UTC, timedelta(0)) == (due.tzinfo, (due - anchor) % timedelta(seconds=seconds))
    assert due == anchor if instant < anchor else timedelta(0) < due - instant <= timedelta(seconds=seconds)


@pytest.mark.parametrize("interval", [0, -(10**9), 1, 10**9 + 1])
def test_every_goes_on(interval: int) -> None:
    """An interval that is not whole seconds, at least one, is refused."""
    with pytest.raises(ScheduleError, match="every: found"):
        Every(interval)


# ── seconds ──


def test_seconds_of_each_minute() -> None:
    """Each second named is due in each minute of the schedule, strictly later than the instant."""
    due = Seconds(Schedule("59 23 * * *"), "*/20")
    found = [utc("2026-01-01 23:58:59")]
    for _ in range(4):
        found.append(due.after(found[-1]))
    assert [utc(f"2026-01-0{at}") for at in ("1 23:59:00", "1 23:59:20", "1 23:59:40", "2 23:59:00")] == found[1:]
    assert utc("2026-01-01 23:59:40") == due.after(utc("2026-01-01 23:59:39.999999"))


@given(
    st.datetimes(datetime(2026, 10, 24), datetime(2026, 10, 27), timezones=st.just(UTC)),
    st.sampled_from(["*/20", "0", "59", "7,30-32", "0-58/29"]),
    st.sampled_from(["* * * * *", "*/7 2 * * *", "30 2 * * *"]),
    st.sampled_from(["cron", "once", "both", "skip"]),
)
def test_seconds_follow_their_minutes(instant: datetime, seconds: str, expression: str, dst: str) -> None:
    """Beside every rule for clock changes, the due instants are those of the minutes plus each second, in order."""
    schedule = Schedule(expression, "Europe/Berlin", dst=dst)
    wanted = sorted(
        minute + timedelta(seconds=second)
        for minute in upcoming(schedule, instant - timedelta(minutes=1), 4)
        for second in seconds_of(seconds, "")
    )
    later = [due for due in wanted if due > instant][:3]
    assert later == upcoming(Seconds(schedule, seconds), instant, len(later))


def upcoming(trigger: Trigger, instant: datetime, count: int) -> list[datetime]:
    return list(islice(walk(trigger, instant), count))


def test_seconds_asked_with_a_local_time() -> None:
    """The instant counts, not the zone in which it is given, also just after a skipped hour."""
    due = Seconds(Schedule("* * * * *", "Europe/Berlin"), "*/10")
    asked = utc("2026-03-29 01:00:05").astimezone(ZoneInfo("Europe/Berlin"))
    assert utc("2026-03-29 01:00:10") == due.after(asked)


@pytest.mark.parametrize("text", ["60", "*/0", "5-1", "", "0 0", "x", "\u0663"])
def test_bad_seconds_are_refused(text: str) -> None:
    """A field of seconds has the grammar of the minute field, and its error names it."""
    with pytest.raises(ScheduleError) as caught:
        Seconds(Schedule("* * * * *"), text)
    assert "seconds" == caught.value.field


def test_a_date_that_is_drawn_exists() -> None:
    """Whatever a job draws for `H`, it is a date; where none can be, the expression is refused on every host."""
    for n in range(300):
        assert Schedule("H H 31 H *", job_id=f"job{n}").after(utc("2026-01-01"))
        with pytest.raises(ScheduleError, match="which matches no date in 40 years"):
            Schedule("0 0 H(30-31) 2 *", job_id=f"job{n}")


def test_warnings_of_seconds() -> None:
    """A step above the width is told, an `H` in any case is understood."""
    assert 1 == len(Seconds(Schedule("* * * * *"), "*/90").warnings)
    assert () == Seconds(Schedule("* * * * *"), " H/2 ").warnings


def test_seconds_can_be_drawn() -> None:
    """`H` in the field of seconds is the job's own second, always the same."""
    due = {Seconds(Schedule("0 0 * * *", job_id=f"job{n}"), "H").after(utc("2026-01-01")) for n in range(300)}
    again = {Seconds(Schedule("0 0 * * *", job_id=f"job{n}"), "H").after(utc("2026-01-01")) for n in range(300)}
    assert (due, True) == (again, len(due) > 50)


# ── once, at boot, spread ──


def test_at_is_due_once() -> None:
    """`at` is due at its instant and never again."""
    at = At.read(datetime(2027, 1, 31, 2, 0), "Europe/Berlin")
    assert utc("2027-01-31 01:00") == at.after(utc("2027-01-31 00:59:59.999999"))
    assert None is at.after(utc("2027-01-31 01:00"))
    assert at == At.read(datetime(2027, 1, 31, 1, 0, tzinfo=UTC), "Asia/Tokyo")


def test_at_over_a_clock_change() -> None:
    """A wall time that the clock skips is the change itself, one of two is the first."""
    assert utc("2026-03-29 01:00") == At.read(datetime(2026, 3, 29, 2, 30), "Europe/Berlin").instant
    assert utc("2026-10-25 00:30") == At.read(datetime(2026, 10, 25, 2, 30), "Europe/Berlin").instant


@pytest.mark.parametrize("text", ["@reboot", " @Reboot "])
def test_no_clock_makes_a_boot(text: str) -> None:
    """`@reboot` is a schedule that says so and has no due time."""
    schedule = Schedule(text, "Europe/Berlin")
    assert (True, None, ()) == (schedule.at_boot, schedule.after(utc("2026-01-01")), schedule.warnings)
    assert not Schedule("@daily").at_boot
    with pytest.raises(ScheduleError, match="seconds: found `seconds` with `@reboot`"):
        Seconds(schedule, "0")


def test_spread_is_even_and_stable() -> None:
    """Each job has its own part of the window, in whole seconds, the same for ever; a fleet's hosts differ."""
    window = 600 * 10**9
    found = [offset(window, f"job{n}", "host") for n in range(6000)]
    assert {0} == {shift % 10**9 for shift in found}
    counts = [sum(1 for shift in found if shift // (60 * 10**9) == minute) for minute in range(10)]
    assert (6000, True) == (sum(counts), min(counts) > 500)
    assert (found[0], False) == (offset(window, "job0", "host"), found[0] == offset(window, "job0", "host2"))
    assert 0 == offset(0, "job", "host")
    assert 577 * 10**9 == offset(window, "backup", "fc2a9c2f")
