"""The second opinion on due times: it says what cronsim and our own search say, in years with clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.exchange.reckoning import Line, changes, first
from jobqueued.timing.schedule import Schedule, ScheduleError

ZONES = (
    "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Antarctica/Troll", "Africa/Cairo", "America/Asuncion",
    "Pacific/Apia", "Africa/Casablanca", "UTC",
)  # fmt: skip


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """A field of cron."""
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted).filter(lambda drawn: drawn[0] < drawn[1])  # cronsim: 0-0/1 is *
    return (
        st.just("*")
        | number.map(str)
        | st.integers(1, high).map("*/{}".format)
        | st.tuples(pair, st.integers(1, 5)).map(lambda drawn: f"{drawn[0][0]}-{drawn[0][1]}/{drawn[1]}")
        | pair.map(lambda drawn: f"{drawn[0]},{drawn[1]}")
    )


LINES = st.tuples(field(0, 59), field(0, 23), st.just("*") | field(1, 28), st.just("*"), field(0, 7)).map(" ".join)


@given(LINES, st.sampled_from(ZONES), st.sampled_from(("cron", "once", "both", "skip")), st.integers(0, 40))
def test_it_agrees_with_the_other_search_around_clock_changes(line: str, zone: str, dst: str, number: int) -> None:
    """Both were written apart, and read the manuals alike."""
    begin = datetime(2011, 6, 1, 3, 7, tzinfo=UTC)
    found = changes(zone, begin, 2)
    start = found[number % len(found)] - timedelta(hours=26) if found else begin
    try:
        schedule = Schedule(line, zone, dst=dst)
    except ScheduleError:
        return
    instant, ours = start, list[datetime]()
    for _ in range(40):
        instant = schedule.after(instant) or instant
        ours.append(instant)
    assert ours == first(line, zone, start, 40, dst)


@given(LINES)
def test_it_agrees_with_cronsim(line: str) -> None:
    """A library that others wrote; in UTC, where it has no rule of its own for clock changes."""
    start = datetime(2027, 2, 27, 22, 58, tzinfo=UTC)
    assert list(islice(CronSim(line, start), 50)) == first(line, "UTC", start, 50)


def test_nicknames_names_and_sunday_by_both_numbers() -> None:
    """They mean what crontab(5) says."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for one, other in (("@daily", "0 0 * * *"), ("0 0 * JAN-mar Sun", "0 0 * 1-3 7"), ("@yearly", "0 0 1 1 *")):
        assert first(one, "Europe/Berlin", start, 50) == first(other, "Europe/Berlin", start, 50)


@pytest.mark.parametrize(
    "line", ["60 * * * *", "* * 0 * *", "5-1 * * * *", "* * L * *", "H * * * *", "* * * *", "*/0 * * * *"]
)
def test_what_cron_does_not_know_is_told(line: str) -> None:
    """By a ValueError, not by a guess."""
    with pytest.raises(ValueError):  # noqa: PT011
        Line.read(line)
