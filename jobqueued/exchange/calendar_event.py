"""Converts systemd's calendar events (systemd.time(7)) to cron expressions, if cron can express the events."""

from __future__ import annotations

import re

from jobqueued.child.contract.tuples import NamedTuple

_WORDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ZONE = r"(?a)UTC|[A-Z][A-Za-z_+-]*/[A-Za-z_+/-]+|[A-Z]{3,4}"
_DATE = r"(?:([^-~]+)-)?([^-~]+)-([^-~]+)"
_TIME = r"([^:]+):([^:]+)(?::([^:]+))?"
_ITEM = r"(\*|\d{1,2})(?:\.\.(\d{1,2}))?(?:/(\d{1,2}))?"


class Unsayable(ValueError):
    """Cron can't express a calendar event; the message names the part that cron can't express."""


class CronTime(NamedTuple):
    """The five fields of a cron expression, the seconds of each matching minute, and the timezone, or "" for the
    host's.
    """

    schedule: str
    seconds: str
    timezone: str


def cron_time(text: str) -> CronTime:
    """Return the times of a calendar event in cron's form. Raises Unsayable if cron can't express the times."""
    words = _WORDS.get(text.strip().lower(), text).split()
    zone = words.pop() if len(words) > 1 and re.fullmatch(_ZONE, words[-1]) and not _is_weekdays(words[-1]) else ""
    weekday = _weekdays(words.pop(0)) if words and words[0][0].isalpha() else "*"
    year, month, day, hour, minute, second = "*", "*", "*", "0", "0", "0"
    for word in words:
        if found := re.fullmatch(_TIME, word):
            hour, minute, second = found[1], found[2], found[3] or "0"
        elif found := re.fullmatch(_DATE, word):
            year, month, day = found[1] or "*", found[2], found[3]
        else:
            raise Unsayable(f"found {word!r}, which cron expressions can't express")
    if year != "*":
        raise Unsayable("found a year, which cron expressions can't have")
    fields = (_field(minute, 0, 59), _field(hour, 0, 23), _field(day, 1, 31), _field(month, 1, 12))
    if weekday != "*" and not fields[2].startswith("*"):
        raise Unsayable("found days of the month and of the week: systemd requires both to match, cron only one")
    return CronTime(" ".join((*fields, weekday)), _field(second, 0, 59), zone)


def _is_weekdays(word: str) -> bool:
    return word.lower() in _WEEKDAYS


def _weekdays(text: str) -> str:
    """Return weekdays such as ``Mon,Wed..Fri`` in cron's format. Raises Unsayable."""
    items = []
    for part in text.rstrip(",").split(","):
        ends = [_weekday(end) for end in re.split(r"\.\.|-", part)]
        if len(ends) > 2 or ends != sorted(ends):
            raise Unsayable(f"found {part!r}, which is not a valid list of weekdays")
        items.append("-".join(_WEEKDAYS[end] for end in sorted({*ends})))
    named = ",".join(items)
    return (
        "*"
        if named == "mon-sun"
        else re.sub(r"(\w+)-sun", lambda found: f"{found[1]}-sat,sun", named).replace("sat-sat", "sat")
    )


def _weekday(text: str) -> int:
    for names in (_WEEKDAYS, _LONG):
        if text.lower() in names:
            return names.index(text.lower())
    raise Unsayable(f"found {text!r}, which is not a weekday")


def _field(text: str, low: int, high: int) -> str:
    """Return a date or time component, with values from `low` to `high`, as a cron field. Raises Unsayable."""
    items = []
    for part in text.split(","):
        found = re.fullmatch(_ITEM, part)
        if found is None:
            raise Unsayable(f"found {part!r}, which cron expressions can't express")
        begin, end, step = found.groups()
        first = low if begin == "*" else int(begin)
        last = int(end) if end else high
        if not low <= first <= last <= high or (step and int(step) < 1):
            raise Unsayable(f"found {part!r}, which never occurs")
        if (begin == "*" and (end or step)) or (step and end is None and first + int(step) > high):
            raise Unsayable(f"found {part!r}, which systemd refuses")
        if (begin == "*" or step) and (first, last) == (low, high):
            items.append(f"*/{int(step)}" if step and int(step) > 1 else "*")
        elif end or step:
            items.append(f"{first}-{last}/{int(step)}" if step and int(step) > 1 else f"{first}-{last}")
        else:
            items.append(str(first))
    return ",".join(items)
