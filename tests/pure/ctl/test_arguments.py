"""Times as people write them, past or future, read by a clock that stands still."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import click
import pytest

from jobqueued.base.instants import HOUR, to_instant
from jobqueued.ctl.base import arguments
from jobqueued.ctl.base.arguments import future_time, kept_time, past_time

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 24, 12, 0, 0, 1, BERLIN)
"""A microsecond after, so that noon is past."""

Option = Callable[[click.Context, click.Parameter, str | None], int | None]


def at(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock of a host in Berlin stand still."""

    class Standing(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            """As the host's clock shows it."""
            assert tz is None
            return moment.replace(tzinfo=None)

    monkeypatch.setattr(arguments, "datetime", Standing)
    monkeypatch.setattr(arguments, "time", SimpleNamespace(time_ns=lambda: to_instant(moment)))


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is noon in Berlin, in winter; afterwards the zone is the host's own again."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    at(NOON, monkeypatch)
    yield
    monkeypatch.undo()
    time.tzset()


def said(option: Option, text: str | None) -> int | None:
    """The instant that an option reads from a text."""
    context = click.Context(click.Command("x"))
    return option(context, click.Option(["--when"]), text)


def refusal(option: Option, text: str) -> str:
    """The message for a text that an option refuses."""
    with pytest.raises(click.BadParameter) as refused:
        said(option, text)
    return refused.value.message


def instant(text: str) -> int:
    """An instant in Berlin."""
    return to_instant(datetime.fromisoformat(text).replace(tzinfo=BERLIN))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", "2026-11-24 12:00:01.000001"), ("2h", "2026-11-24 14:00:00.000001"),
        ("1d12h", "2026-11-26 00:00:00.000001"),
        ("18:00", "2026-11-24 18:00"), ("12:01", "2026-11-24 12:01"), ("12:00", "2026-11-25 12:00"),
        ("8:30", "2026-11-25 08:30"), ("0:00", "2026-11-25 00:00"), ("00:00", "2026-11-25 00:00"),
        ("tomorrow", "2026-11-25"), ("2026-11-25", "2026-11-25"), ("2026-11-24 12:01", "2026-11-24 12:01"),
        ("2026-11-24T18:00:30", "2026-11-24 18:00:30"), ("2026-11-24T18:00:00Z", "2026-11-24 19:00"),
        ("2026-11-24T12:00+00:00", "2026-11-24 13:00"), ("2am", "2026-11-25 02:00"), ("6pm", "2026-11-24 18:00"),
        ("tomorrow 03:00", "2026-11-25 03:00"), ("tuesday 9am", "2026-12-01 09:00"),
        ("24:00", "2026-11-25 00:00"), ("2400", "2026-11-25 00:00"), ("24:00 tomorrow", "2026-11-26 00:00"),
        ("now + 2 hours", "2026-11-24 14:00:00.000001"),
    ],
)  # fmt: skip
def test_future_time(text: str, expected: str) -> None:
    """A duration counts from now on, a time of day is the next such time, a day begins at its midnight here."""
    assert instant(expected) == said(future_time, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1s", "2026-11-24 11:59:59.000001"), ("2h", "2026-11-24 10:00:00.000001"),
        ("1d12h", "2026-11-23 00:00:00.000001"), ("0s", "2026-11-24 12:00:00.000001"),
        ("today", "2026-11-24"), ("yesterday", "2026-11-23"), ("2026-11-24", "2026-11-24"),
        ("2026-11-24 09:52:12 CET", "2026-11-24 09:52:12"), ("2026-11-24 09:52:12 UTC", "2026-11-24 10:52:12"),
        ("2026-07-01 09:52 CEST", "2026-07-01 09:52"), ("11:52:12", "2026-11-24 11:52:12"),
        ("12:00:30", "2026-11-23 12:00:30"), ("2am", "2026-11-24 02:00"), ("6pm", "2026-11-23 18:00"),
        ("yesterday 03:00", "2026-11-23 03:00"), ("3am today", "2026-11-24 03:00"), ("noon", "2026-11-24 12:00"),
        ("tuesday 9am", "2026-11-24 09:00"), ("tuesday 1pm", "2026-11-17 13:00"), ("fri 5pm", "2026-11-20 17:00"),
        ("now - 3 days", "2026-11-21 12:00:00.000001"), ("24 dec 6pm", "2025-12-24 18:00"),
        ("0200", "2026-11-24 02:00"), ("2am utc", "2026-11-24 03:00"), ("31 jan 75", "1975-01-31 12:00"),
        ("24:00", "2026-11-24 00:00"), ("24:00 yesterday", "2026-11-24 00:00"), ("monday 24:00", "2026-11-24 00:00"),
        ("24:00 tue", "2026-11-18 00:00"), ("dec 1 - 2 weeks", "2026-11-17 12:00"),
        ("dec 24 - 2 weeks", "2025-12-10 12:00"),
        ("2026-11-24 12:00", "2026-11-24 12:00"), ("2026-11-24T10:59:00Z", "2026-11-24 11:59"),
    ],
)  # fmt: skip
def test_past_time(text: str, expected: str) -> None:
    """A duration means so long ago, a day begins at its midnight here."""
    assert instant(expected) == said(past_time, text)


@pytest.mark.parametrize("text", ["1970-01-01", "1970-01-01T00:00Z", "1960-01-01", "0001-01-02", "60000d"])
def test_before_everything(text: str) -> None:
    """A time before the first instant means that one."""
    assert 0 == said(past_time, text)


@pytest.mark.parametrize(("text", "expected"), [("8:30", "2026-11-24 08:30"), ("18:00", "2026-11-23 18:00")])
def test_past_time_of_day(text: str, expected: str) -> None:
    """A past time of day is the last such time."""
    assert instant(expected) == said(past_time, text)


def test_clock_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day begins at midnight by the clock on the wall, also where the clock changes meanwhile; durations elapse."""
    at(datetime(2026, 10, 24, 12, tzinfo=BERLIN), monkeypatch)
    assert instant("2026-10-25 00:00") == said(future_time, "tomorrow")
    assert instant("2026-10-25 11:00") == said(future_time, "1d")
    at(datetime(2026, 10, 25, 12, tzinfo=BERLIN), monkeypatch)
    assert instant("2026-10-25 00:00") == said(past_time, "today")
    assert instant("2026-10-24 00:00") == said(past_time, "yesterday")
    assert instant("2026-10-24 13:00") == said(past_time, "1d")


def test_an_hour_that_comes_twice_or_never() -> None:
    """Of an hour that comes twice the zone tells which; one that is left out is refused, in a zone of its own it is."""
    first = instant("2025-10-26 02:30")
    assert [first, first + HOUR] == [said(past_time, f"2025-10-26 02:30 {zone}") for zone in ("CEST", "CET")]
    near = "expected 2026-03-29 01:30 or 2026-03-29 03:30"
    assert f"'2026-03-29 02:30' does not exist: a clock change skips it; {near}" == refusal(
        past_time, "2026-03-29 02:30"
    )
    assert instant("2026-03-29 04:30") == said(past_time, "2026-03-29T02:30Z")


def test_an_instant_of_which_something_may_be_kept() -> None:
    """Before the first there is none."""
    assert (None, instant("2026-11-24")) == (said(kept_time, None), said(kept_time, "today"))
    assert "'1969-12-31' is before all saved records" == refusal(kept_time, "1969-12-31")


@pytest.mark.parametrize("option", [past_time, future_time])
def test_nothing(option: Option) -> None:
    """An option that is not given has no instant."""
    assert said(option, None) is None


@pytest.mark.parametrize("text", ["today", "yesterday", "0s", "2026-11-24", "2026-11-24 12:00", "1970-01-01"])
def test_past(text: str) -> None:
    """A past time is not accepted for a future one."""
    assert f"{text!r} is in the past" == refusal(future_time, text)


@pytest.mark.parametrize("text", ["tomorrow", "2026-11-25", "2026-11-24 12:01", "2026-11-24T11:01Z"])
def test_future(text: str) -> None:
    """A future time is not accepted for a past one."""
    assert f"{text!r} is in the future" == refusal(past_time, text)


def test_words_of_another_direction() -> None:
    """They are refused with the instant that they mean."""
    told = "found 'now + 2 hours', which is in the future: 2026-11-24 14:00; expected an earlier time"
    assert told == refusal(past_time, "now + 2 hours")
    told = "found 'now - 2 hours', which is in the past: 2026-11-24 10:00; expected a later time"
    assert told == refusal(future_time, "now - 2 hours")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "2x",
        "1d2x",
        "99999999d",
        "12:60",
        "24:30",
        "soon",
        "2026-13-01",
        "1:2:3",
        "2026-11-24 09:00 EST",
        "2026-11-24 09:00 CEST",
    ],
)
@pytest.mark.parametrize(
    ("option", "accepted"),
    [
        (past_time, "2h or 1d12h (ago), 18:00, 2am, 'monday 9am', today, yesterday, 2026-11-17, '2026-11-17 18:00'"),
        (future_time, "2h or 1d12h (from now), 18:00, 5pm, 'monday 9am', tomorrow, 2026-12-01, '2026-12-01 18:00'"),
    ],
)
def test_no_time(option: Option, accepted: str, text: str) -> None:
    """A malformed time is answered with the accepted forms."""
    assert f"{text!r}; expected {accepted}, or RFC 3339" == refusal(option, text)
    for example in re.split(", | or ", re.sub(r"\(.*?\)", "", accepted)):
        assert said(option, example.strip(" '")) is not None


@pytest.mark.parametrize("option", [past_time, future_time])
def test_beyond_the_calendar(option: Option) -> None:
    """A time of no year from 1 to 9999 is no time."""
    assert refusal(option, "9999999d").startswith("'9999999d'; expected ")
