"""Times as people say them."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

import click

from jobqueued.jobfile.spelling import parse_duration
from jobqueued.model import to_instant, to_text


def past(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """An option's time gone by, as an instant: a duration means so long ago."""
    instant = None if text is None else _instant(text, -1, "2h or 1d12h (ago), 18:00, today, yesterday")
    if instant is not None and instant > time.time_ns():
        raise click.BadParameter(f"{text!r} is to come")
    return instant


def coming(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """An option's time to come, as an instant: a duration means from now on."""
    instant = None if text is None else _instant(text, 1, "2h or 1d12h (from now on), 18:00, tomorrow")
    if instant is not None and instant <= time.time_ns():
        raise click.BadParameter(f"{text!r} is past")
    return instant


def _instant(text: str, direction: int, accepted: str) -> int:
    try:
        if re.fullmatch("[0-9]+[dhms].*", text):
            instant = time.time_ns() + direction * parse_duration(text)
            to_text(instant)
            return instant
        return to_instant((_word(text, direction) or datetime.fromisoformat(text)).astimezone())
    except (ValueError, OverflowError):
        forms = f"{accepted}, 2026-11-24, '2026-11-24 02:00', or RFC 3339"
        raise click.BadParameter(f"{text!r}; accepted: {forms}") from None


def _word(text: str, direction: int) -> datetime | None:
    """A day by its name, or a time of day: the next, or the last."""
    now = datetime.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = {"yesterday": -1, "today": 0, "tomorrow": 1}
    if text in days:
        return midnight + timedelta(days=days[text])
    if re.fullmatch("[0-9]{1,2}:[0-9]{2}", text):
        hour, minute = map(int, text.split(":"))
        moment = midnight.replace(hour=hour, minute=minute)
        return moment if (moment > now) == (direction > 0) else moment + timedelta(days=direction)
    return None
