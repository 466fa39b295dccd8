"""Types of values about time: zones, instants and cron expressions. They are made with types.py."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from jobqueued.base.instants import LEAPING
from jobqueued.jobfile.tree.yamltext import Scalar, is_null
from jobqueued.jobfile.types.scalars import scalar
from jobqueued.jobfile.types.spelling import Instead, nearest
from jobqueued.timing.schedule import similar_zones, zones

_TYPO = 2
_MOST_DAYS = 31
_LIKE_AN_INSTANT = r"(?a)(\d{4})-(\d\d?)-(\d\d?)(?:(T| )(\d\d?)(?::(\d\d)(:\d\d)?)?(Z|[-+]\d\d:\d\d)?)?"
_INSTANT = r"(?a)\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[-+]\d\d:\d\d)?"


def _zone(node: Scalar) -> str:
    if node.text in ("localtime", "posixrules"):
        raise Instead("no `timezone` at all for the host's own zone")
    try:
        ZoneInfo(node.text)
    except (KeyError, ValueError, OSError):  # such as a path, or a directory of the zone data (Europe)
        raise Instead(similar_zones(node.text) or nearest(node.text, _like(node.text) or ("",))) from None
    if node.text.startswith(LEAPING):
        raise Instead(node.text.removeprefix(LEAPING))
    return node.text


def _like(name: str) -> list[str]:
    """Return the zones with the same first letter and about the same length, because a comparison with all zones is
    slow.
    """
    return [zone for zone in zones() if zone[:1] == name[:1].upper() and abs(len(zone) - len(name)) <= _TYPO]


def _expression(node: Scalar) -> Scalar:
    """Return the node itself with its place in the file, because the expression is parsed later."""
    if is_null(node) or not node.text.strip():
        raise ValueError
    return node


def _instant(node: Scalar) -> datetime:
    """Return an instant: aware if the text has a zone, otherwise naive. Raises ValueError."""
    try:
        return _of_spelling(node.text)
    except ValueError:
        raise Instead(_meant_instant(node.text)) from None


def _of_spelling(text: str) -> datetime:
    if not re.fullmatch(_INSTANT, text):
        raise ValueError
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        with suppress(OverflowError):  # in the years 1 and 9999
            moment = moment.astimezone(UTC)
    if not 1970 <= moment.year < 2200:  # nanoseconds since 1970 in 64 bits end in 2262
        raise ValueError
    return moment


def _meant_instant(text: str) -> str:
    """Return our spelling of an instant in another format, or "" if there is no guess that a job file accepts."""
    if clock := re.fullmatch(r"(\d{1,2}):(\d\d)", text, re.ASCII):
        dated, daily = f"2027-01-31T{int(clock[1]):02}:{clock[2]}", f"{int(clock[2])} {int(clock[1])} * * *"
        if not _is_instant(dated):
            return ""
        return f'a date before the time, such as {dated}; for every day, `schedule: "{daily}"`'
    if re.fullmatch("[1-9][0-9]{8,9}", text):
        spelled = datetime.fromtimestamp(int(text), UTC).isoformat().replace("+00:00", "Z")
        return spelled if _is_instant(spelled) else ""
    text = re.sub(r"(?a)(\d\d?)\.(\d\d?)\.(\d{4})", r"\3-\2-\1", " ".join(text.split()))
    text = re.sub(r"([-+]\d\d)(\d\d)$", r"\1:\2", text.replace(" UTC", "Z").replace(" Z", "Z").replace("/", "-"))
    like = re.fullmatch(_LIKE_AN_INSTANT, text)
    if like is None:
        return ""
    year, month, day, mark, hour, minute, second, offset = like.groups("")
    is_midnight = (hour, minute, second) == ("24", "00", "")
    daytime = f"{0 if is_midnight else int(hour or 0):02}:{minute or '00'}{second}{offset}"
    try:
        days = _days(int(year), int(month), int(day), is_midnight)
    except (ValueError, OverflowError):
        return ""
    found = [spelled for each in days if _is_instant(spelled := f"{each}{mark or 'T'}{daytime}")]
    if len(found) == 1 and not mark and not found[0].startswith(text):
        return f"{found[0]}, or another time of that day"
    return " or ".join(found)


def _is_instant(text: str) -> bool:
    with suppress(ValueError):
        return bool(_of_spelling(text))
    return False


def _days(year: int, month: int, day: int, is_midnight: bool) -> list[date]:
    """Return the date, or the following date if `is_midnight`, because 24:00 is the end of a day.

    For a day beyond the month's end, return two dates: for the month's last day and for the day in the next month.
    """
    first = date(year, month, 1)
    found = first + timedelta(days=day - 1)
    if not 1 <= day <= _MOST_DAYS:
        raise ValueError
    dates = [found] if found.month == month else [found - timedelta(days=found.day), found]
    return [each + timedelta(days=is_midnight) for each in dates]


ZONE = scalar("time zone", "a time zone of the tz database, such as UTC or Europe/Berlin", _zone)
EXPRESSION = scalar("cron expression", 'a cron expression such as "0 2 * * *"', _expression)
SECONDS = scalar("seconds field", 'a field of seconds such as "*/10" or "0,30"', _expression)
WHEN = scalar("instant", "an instant such as 2027-01-31T02:00 or 2027-01-31T02:00+01:00, from 1970 to 2199", _instant)
