"""Schedules at every clock change of every time zone, against a model that goes minute by minute, and cronsim."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobqueued.timing.schedule import Schedule, ScheduleError
from tests.support.zones import FIRST, LAST, SOAK, Change, Window, changes, changes_of, kinds, owed, window

HOUR, MINUTE, TICK = timedelta(hours=1), timedelta(minutes=1), timedelta.resolution
RULES = ("cron", "once", "both", "skip")


def known(zone: str, at: str, before: timedelta, after: timedelta) -> Change:
    """Write down a change."""
    return Change(zone, datetime.fromisoformat(at).replace(tzinfo=UTC), before, after)


KNOWN = [
    known("Africa/Monrovia", "1972-01-07 00:44:30", -timedelta(minutes=44, seconds=30), timedelta(0)),
    known("America/Goose_Bay", "1988-10-30 02:01", -2 * HOUR, -4 * HOUR),
    known("Pacific/Kwajalein", "1993-08-21 12:00", -12 * HOUR, 12 * HOUR),
    known("Antarctica/Vostok", "1994-01-31 17:00", 7 * HOUR, 0 * HOUR),
    known("Pacific/Apia", "2011-12-30 10:00", -10 * HOUR, 14 * HOUR),
    known("Antarctica/Casey", "2020-10-03 16:01", 8 * HOUR, 11 * HOUR),
    known("Australia/Lord_Howe", "2026-04-04 15:00", 11 * HOUR, 10.5 * HOUR),
]


def sparse(change: Change) -> list[str]:
    """Write expressions that are due a few times a day: in the gap or repeated time of a change, and around it."""
    first, middle, last = change.low, change.low + change.size // 2, change.high - MINUTE
    times = [first - MINUTE, first, middle, last, change.high]
    minutes = ",".join(str(wall.minute) for wall in (first, middle, last))
    hours = ",".join(str(wall.hour) for wall in (first, middle, last))
    minute, hour, tomorrow = middle.minute, middle.hour, middle + timedelta(days=1)
    return [
        *(f"{wall.minute} {wall.hour} * * *" for wall in times),
        "0 0 * * *",
        f"{minutes} {hours} * * *",
        f"*/20 {hour} * * *",
        f"{minute} * * * *",
        f"{minute} */2 * * *",
        f"{minute},37 {hour % 2}-23/2 * * *",
        f"{minute} {hour} {middle.day} * *",
        f"{minute} {hour} {tomorrow.day} {tomorrow.month} *",
        f"0,{minute} 0,{hour} {tomorrow.day} * {middle.isoweekday()}",
        f"{minute} {hour} */2 * {middle.isoweekday()}",
        f"*/7 {hour} {middle.day} {middle.month} *",
    ]


DENSE = ["* * * * *", "0-59 0-23 * * *"]
EDGE = timedelta(minutes=20 if SOAK else 4)


def views(change: Change) -> list[tuple[Window, list[str]]]:
    """Pair the day around a change with the sparse expressions, and what is near its three edges with the dense."""
    edges = (change.at - change.size, change.at, change.at + change.size)
    near = [(window(change.zone, edge - EDGE, edge + EDGE), DENSE) for edge in edges]
    return [(day(change), sparse(change)), *near]


def day(change: Change) -> Window:
    """Look at the day around a change."""
    return window(change.zone, change.at - change.size - 3 * HOUR, change.at + change.size + 26 * HOUR)


def moments(change: Change, due: list[datetime]) -> Iterator[datetime]:
    """Pick instants to ask at: around the change, inside what it repeats in both folds, at due ones and before them."""
    zone = ZoneInfo(change.zone)
    yield change.at
    for instant in (change.at - change.size // 2, change.at, change.at + change.size // 2, change.at + change.size):
        yield (instant - TICK).astimezone(zone)
    for instant in due[:: 1 + len(due) // (8 if SOAK else 2)]:
        yield instant - TICK
        yield instant.astimezone(zone)


def until(schedule: Schedule, start: datetime, stop: datetime) -> list[datetime]:
    """List what is due later than start and not later than stop."""
    return list(takewhile(lambda instant: instant <= stop, walk(schedule, start)))


def walk(schedule: Schedule, start: datetime) -> Iterator[datetime]:
    """Follow a schedule from due instant to due instant, each strictly later than the one before."""
    while (instant := schedule.after(start)) is not None:
        assert instant > start, (schedule, start)
        yield instant
        start = instant


def first_in(view: Window, schedule: Schedule, instant: datetime) -> datetime | None:
    """Ask what is due next after an instant; None for what lies beyond the window."""
    found = schedule.after(instant)
    assert found is None or found > instant.astimezone(UTC), (schedule, instant)
    return found if found is not None and found <= view.stop else None


def test_known_changes_are_found() -> None:
    """Changes of the offset are found to the second, one of the name alone (Lisbon, 1992) is none."""
    for change in KNOWN:
        assert [change] == list(changes_of(change.zone, change.at - HOUR, change.at + HOUR))
        assert [] == list(changes_of(change.zone, change.at, change.at + HOUR))
    autumn = datetime(1992, 9, 1, tzinfo=UTC), datetime(1992, 10, 31, tzinfo=UTC)
    names = {instant.astimezone(ZoneInfo("Europe/Lisbon")).tzname() for instant in autumn}
    assert (2, []) == (len(names), list(changes_of("Europe/Lisbon", *autumn)))


@pytest.mark.parametrize("year", range(FIRST, LAST + 1))
def test_every_change_as_the_model(year: int) -> None:
    """Around each clock change of a year all that is due, in order, is what the rule's wording makes due.

    All the expressions meet a change of each kind, and all changes in a soak; else one change takes a third of them.
    """
    for n, change in enumerate(change for change in changes() if change.at.year == year):
        check_change(change, slice(None) if SOAK or change in kinds() else slice(n % 3, None, 3))


@pytest.mark.parametrize(("zone", "year"), [(change.zone, change.at.year) for change in KNOWN])
def test_odd_change_as_the_model(zone: str, year: int) -> None:
    """The same holds for the odd changes of other years, of all sizes, at any second."""
    for change in changes_of(zone, datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)):
        check_change(change, slice(None))


def check_change(change: Change, part: slice) -> None:
    """Compare, for a part of the expressions and under each rule, what is due around a change with the model."""
    for view, expressions in views(change):
        for expression in expressions[part]:
            for dst, expected in owed(view, expression).items():
                check(change, view, Schedule(expression, change.zone, dst=dst), expected)


def check(change: Change, view: Window, schedule: Schedule, expected: list[datetime]) -> None:
    """Compare all that is due in a window, and what is due after some of its instants, with what is expected."""
    assert expected == until(schedule, view.start, view.stop), (schedule, change)
    for instant in moments(change, expected):
        if view.start <= instant <= view.stop:
            due = next((due for due in expected if due > instant), None)
            assert due == first_in(view, schedule, instant), (schedule, instant, instant.fold)


def test_model_as_cronsim() -> None:
    """Around a clock change of each kind cronsim finds due what the model does for a job at fixed hours, as `cron`.

    Not at a change inside a minute (Monrovia, 1972): what its gap holds is due right then, in cronsim a minute later.
    """
    for change in (change for change in kinds() if change.at.second == 0):
        view = day(change)
        for expression in (text for text in sparse(change) if not any(field[0] == "*" for field in text.split()[:2])):
            found = CronSim(expression, view.start.astimezone(ZoneInfo(change.zone)))
            expected = owed(view, expression)["cron"]
            assert expected == [due.astimezone(UTC) for due in islice(found, len(expected))], (expression, change)
            assert next(found) > view.stop, (expression, change)


def test_instants_that_do_not_exist() -> None:
    """An instant given as a local time inside a gap is the instant that PEP 495 says it is, in both folds."""
    for change in (change for change in kinds() if change.after > change.before):
        walls = [change.low, change.low + change.size // 2, change.high - TICK]
        instants = [wall.replace(tzinfo=ZoneInfo(change.zone), fold=fold) for wall in walls for fold in (0, 1)]
        for expression, dst in ((expression, dst) for expression in sparse(change) for dst in RULES):
            schedule = Schedule(expression, change.zone, dst=dst)
            for instant in instants:
                assert schedule.after(instant.astimezone(UTC)) == schedule.after(instant), (schedule, instant)


def items(low: int, high: int) -> st.SearchStrategy[str]:
    """Draw an item of a field: a number, a range, or a range with a step."""
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    return number.map(str) | span | st.tuples(span, st.integers(1, 20)).map(lambda parts: f"{parts[0]}/{parts[1]}")


def texts(low: int, high: int) -> st.SearchStrategy[str]:
    """Draw a field: a star, a star with a step, or a list of items."""
    steps = st.integers(2, high).map(lambda step: f"*/{step}")
    return st.just("*") | steps | st.lists(items(low, high), min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(
    texts(0, 59), texts(0, 23), st.just("*") | texts(1, 31), st.just("*") | texts(1, 12), st.just("*") | texts(0, 7)
).map(" ".join)
SPAN = datetime(FIRST, 1, 1), datetime(LAST, 12, 31)


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime]:
    """Draw a zone and an instant: any, or one from 30 hours before a clock change to 3 after it."""
    if draw(st.booleans()):
        return draw(st.sampled_from(sorted(available_timezones()))), draw(st.datetimes(*SPAN, timezones=st.just(UTC)))
    change = draw(st.sampled_from(changes()))
    return change.zone, change.at + draw(st.timedeltas(-30 * HOUR, 3 * HOUR))


@given(EXPRESSIONS, places(), st.sampled_from(RULES))
@settings(max_examples=10_000 if SOAK else 120, deadline=None)
def test_any_instant_as_the_model(expression: str, place: tuple[str, datetime], dst: str) -> None:
    """After any instant in any zone the next due one of any expression is the model's, and strictly later."""
    zone, instant = place
    try:
        schedule = Schedule(expression, zone, dst=dst)
    except ScheduleError as error:
        assume(error.field not in ("day of month", "dst"))
        raise
    start = instant.replace(microsecond=0) - timedelta(seconds=instant.second)
    view = window(zone, start, start + 30 * HOUR)
    due = next((due for due in owed(view, expression)[dst] if due > instant), None)
    assert due == first_in(view, schedule, instant)
    assert due == first_in(view, schedule, instant.astimezone(ZoneInfo(zone)))
