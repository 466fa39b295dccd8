"""Times in people's words mean what at(1) takes them for; what could mean several instants is answered."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.base.instants import DAY, to_datetime, to_instant
from jobqueued.timing.timespec import TimeError, read, read_past

BERLIN = "Europe/Berlin"
NOW = to_instant(datetime(2026, 11, 26, 20, 29, 30, tzinfo=ZoneInfo(BERLIN)))
"""A Thursday."""

AS_AT = """
18:00 | 2026-11-27 18:00
5 pm | 2026-11-27 17:00
5pm | 2026-11-27 17:00
noon | 2026-11-27 12:00
midnight | 2026-11-27 00:00
teatime | 2026-11-27 16:00
now | 2026-11-26 20:29
tomorrow | 2026-11-27 20:29
now + 1 hour | 2026-11-26 21:29
now + 3 days | 2026-11-29 20:29
now + 2 weeks | 2026-12-10 20:29
now + 1 month | 2026-12-26 20:29
now + 1 year | 2027-11-26 20:29
noon tomorrow | 2026-11-27 12:00
3pm + 2 days | 2026-11-28 15:00
4pm + 3 days | 2026-11-29 16:00
8:00 + 90 minutes | 2026-11-27 09:30
monday | 2026-11-30 20:29
next monday | 2026-11-30 20:29
next thursday | 2026-12-03 20:29
9am monday | 2026-11-30 09:00
9am thu | 2026-12-03 09:00
noon next week | 2026-12-03 12:00
0900 | 2026-11-27 09:00
2359 | 2026-11-26 23:59
18.30 | 2026-11-27 18:30
18h30 | 2026-11-27 18:30
18:00 2027-01-31 | 2027-01-31 18:00
18:00 31.01.2027 | 2027-01-31 18:00
18:00 1/31/27 | 2027-01-31 18:00
18:00 013127 | 2027-01-31 18:00
18:00 01312027 | 2027-01-31 18:00
jan 31 | 2027-01-31 20:29
31 jan | 2027-01-31 20:29
noon jan 31, 2028 | 2028-01-31 12:00
14:00 nov 25 | 2027-11-25 14:00
17:00 utc | 2026-11-27 18:00
next hour | 2026-11-26 21:29
12am | 2026-11-27 00:00
12pm | 2026-11-27 12:00
23:59 today | 2026-11-26 23:59
10:15 next friday | 2026-11-27 10:15
thursday | 2026-12-03 20:29
9pm thu | 2026-12-03 21:00
20:30 thu | 2026-12-03 20:30
11:59pm thu + 2 weeks | 2026-12-17 23:59
24:00 | 2026-11-27 00:00
2400 | 2026-11-27 00:00
24:00 today | 2026-11-27 00:00
24:00 monday | 2026-12-01 00:00
24:00 dec 31 | 2027-01-01 00:00
2400 + 1 week | 2026-12-04 00:00
24:00 next month | 2026-12-27 00:00
0am | 2026-11-27 00:00
0pm | 2026-11-27 12:00
0:30am tomorrow | 2026-11-27 00:30
0:30pm | 2026-11-27 12:30
dec 1 + 3 days | 2026-12-04 20:29
nov 25 + 3 days | 2026-11-28 20:29
nov 25 + 30 hours | 2026-11-27 02:29
nov 25 + 2 hours | 2027-11-25 22:29
jan 31 + 11 months | 2026-12-31 20:29
18:00 jan 31 69 | 2069-01-31 18:00
"""
"""What at 3.2.5 has said, asked at that time in that zone."""

ON_MONDAY = """
monday | 2026-12-07 10:00
mon | 2026-12-07 10:00
11am monday | 2026-12-07 11:00
9am monday | 2026-12-07 09:00
5pm mon + 1 week | 2026-12-14 17:00
noon mon + 2 days | 2026-12-09 12:00
9am mon + 1 hour | 2026-12-07 10:00
monday - 1 day | 2026-12-06 10:00
monday + 1 hour | 2026-12-07 11:00
tue | 2026-12-01 10:00
10:00 | 2026-12-01 10:00
10:01 | 2026-11-30 10:01
9am + 1 hour | 2026-12-01 10:00
9am + 90 minutes | 2026-11-30 10:30
9am + 1 week | 2026-12-07 09:00
tomorrow - 1 day | 2026-11-30 10:00
"""
"""The same, asked on a Monday at 10:00:30."""

MORE = """
tomorrow 03:00 | 2026-11-27 03:00
monday 9am | 2026-11-30 09:00
2026-12-24 18:00 | 2026-12-24 18:00
2026-12-24T18:00 | 2026-12-24 18:00
2026-12-24T18:00Z | 2026-12-24 19:00
2026-12-24T18:00+05:00 | 2026-12-24 14:00
2026-12-31T24:00 | 2027-01-01 00:00
+2h | 2026-11-26 22:29
+1h30m | 2026-11-26 21:59
in 90m | 2026-11-26 21:59
+ 1 hour | 2026-11-26 21:29
Tomorrow NOON | 2026-11-27 12:00
at 5pm | 2026-11-27 17:00
jul 31 1730 | 2027-07-31 17:30
next month | 2026-12-26 20:29
"""


@pytest.mark.parametrize("line", [*AS_AT.strip().splitlines(), *MORE.strip().splitlines()])
def test_words(line: str) -> None:
    """Each means one instant."""
    words, expected = line.split(" | ")
    assert expected == f"{to_datetime(read(words, NOW, BERLIN)).astimezone(ZoneInfo(BERLIN)):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize("line", ON_MONDAY.strip().splitlines())
def test_words_on_a_monday(line: str) -> None:
    """A weekday is one to come: that of today is in a week."""
    words, expected = line.split(" | ")
    now = to_instant(datetime(2026, 11, 30, 10, 0, 30, tzinfo=ZoneInfo(BERLIN)))
    assert expected == f"{to_datetime(read(words, now, BERLIN)).astimezone(ZoneInfo(BERLIN)):%Y-%m-%d %H:%M}"


def test_the_next_leap_day() -> None:
    """It is searched in the next year if this year's February is over."""
    now = to_instant(datetime(2027, 11, 26, 20, 29, tzinfo=UTC))
    assert read("noon feb 29", now, "UTC") == to_instant(datetime(2028, 2, 29, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("3", "found '3'; expected 03:00 or 3am or 3pm; or another time, such as 18:00"),
        ("15", "expected 15:00; or another time"),
        ("foo", "found 'foo'; expected 18:00, 5pm, noon, tomorrow 03:00"),
        ("", "found ''; expected"),
        ("25:00", "found '25:00'; expected"),
        ("13pm", "found '13pm'; expected"),
        ("24am", "found '24am'; expected"),
        ("24:30", "found '24:30'; expected"),
        ("2430", "found '2430'; expected"),
        ("12:60", "found '12:60'; expected"),
        ("18,30", "found '18,30'; expected"),
        ("13127", "found '13127'; expected"),
        ("jan 31 70", "which is in the past: 1970-01-31 20:29"),
        ("1/31/99", "which is in the past: 1999-01-31 20:29"),
        ("75-01-31", "which is in the past: 1975-01-31 20:29"),
        ("013175", "which is in the past: 1975-01-31 20:29"),
        ("noon noon", "expected"),
        ("tomorrow monday", "expected"),
        ("now 5pm", "expected"),
        ("14:00 feb 29", "expected"),
        ("noon today", "found 'noon today', which is in the past: 2026-11-26 12:00; expected a later time"),
        ("now - 1 hour", "which is in the past"),
        ("noon fri - 1 week", "which is in the past: 2026-11-20 12:00"),
        ("9pm - 1 day", "which is in the past: 2026-11-25 21:00"),
        ("8pm - 1 week", "which is in the past: 2026-11-19 20:00"),
        ("2026-11-26 20:28", "which is in the past"),
        ("now + 5", "a unit after 5"),
        ("now + 999999 days", "at most 100000 days"),
        ("2199-12-31 + 900 years", "expected"),
        (
            "2027-03-28 02:30",
            "clocks in Europe/Berlin skip 2027-03-28 02:30; expected 2027-03-28 01:30 or 2027-03-28 03:30",
        ),
        (
            "2027-10-31 02:30",
            "show 2027-10-31 02:30 twice; expected 2027-10-31T02:30+02:00 or 2027-10-31T02:30+01:00",
        ),
        ("5pm\0", "expected"),
        ("x" * 10_000, "expected"),
    ],
)
def test_refused(words: str, told: str) -> None:
    """What is no time, or not one, is answered with what is accepted."""
    with pytest.raises(TimeError) as raised:
        read(words, NOW, BERLIN)
    assert told in str(raised.value)


@pytest.mark.parametrize("words", ["next monday", "next mon 9am", "02:00 next tuesday", "tomorrow", "next week"])
def test_a_future_time_is_not_past(words: str) -> None:
    """A day that is to come is refused as a past time, not taken as the day before it."""
    with pytest.raises(TimeError, match="which is in the future"):
        read_past(words, NOW, BERLIN)


@given(st.integers(10 * DAY, 200 * 365 * DAY))
def test_examples_are_accepted(now: int) -> None:
    """At any time, a refusal's examples are themselves accepted, in either direction."""
    for reader in (read, read_past):
        for refused in ("foo", "tomorrow yesterday", "noon noon", "5pm\0", "25:00", "x" * 101):
            with pytest.raises(TimeError) as raised:
                reader(refused, now, "UTC")
            for example in str(raised.value).partition("expected ")[2].split(", "):
                reader(example, now, "UTC")


def test_what_is_told_is_accepted() -> None:
    """The spellings that a refusal names mean what it says."""
    for words in ("2027-10-31T02:30+02:00", "2027-10-31T02:30+01:00", "2027-03-28 01:30", "03:00", "3am"):
        assert read(words, NOW, BERLIN) >= NOW
    first, second = (read(f"2027-10-31T02:30{offset}", NOW, BERLIN) for offset in ("+02:00", "+01:00"))
    assert 3600 * 10**9 == second - first


WORDS = """
noon 5pm 18:00 now + - 2 3 days hours tomorrow next monday jan 31 2028 utc in week 1h30m 9 am 0900 , today
"""


@given(
    st.lists(st.sampled_from(WORDS.split()), max_size=6), st.integers(0, 4 * 10**9),
    st.sampled_from(["UTC", BERLIN, "Australia/Lord_Howe", "Pacific/Apia"]),
)  # fmt: skip
def test_any_words(words: list[str], seconds: int, zone: str) -> None:
    """Any words are one instant that is not past, or refused in words; nothing else comes of them."""
    now = to_instant(datetime.fromtimestamp(seconds, UTC))
    told = ""
    try:
        assert read(" ".join(words), now, zone) >= now
    except TimeError as error:
        told = str(error)
    assert not told or "expected " in told
