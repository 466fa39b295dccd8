"""Translates crontab lines and times that people paste into a job file into job-file keys."""

from __future__ import annotations

import json
import re

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""The nicknames of crontab(5), except @reboot, which is not a time."""

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
"""The lowest and highest number in each of the five fields."""

_TIME = rf"@reboot|{'|'.join(ALIASES)}|[\d*][\d*/,-]*(?:[ \t]+[\d*][\d*/,-]*){{2}}(?:[ \t]+[\w*/,-]+){{2}}"
_LINE = rf"(?m)^[ \t]*(?P<time>{_TIME})[ \t]+(?P<rest>\S[^\n]*)"
_WITH_USER = r"(?P<user>(?:root|nobody|www-data)\b|[a-z_][a-z0-9_-]*(?=\t|  | +(?:/|\[ |test )))[ \t]+(?P<command>\S.*)"
_PLAIN = r"[\w/.][\w/. =+-]*"
_PERCENT = r"(?<!\\)%"
"""Pattern for the end of a command in a crontab. Standard input follows, where each later match starts a new line."""
_MOST = 300
_IN_WORDS = {
    "boot": "@reboot",
    "startup": "@reboot",
    "minutely": "* * * * *",
    "every minute": "* * * * *",
    "every hour": "@hourly",
    "every day": "@daily",
    "nightly": "@midnight",
    "every week": "@weekly",
    "every month": "@monthly",
    "every year": "@yearly",
}
_EASY_INTERVAL = r"[1-9]\d?[dhms]"
_CALENDAR = r"(?a)(?:(mon|tue|wed|thu|fri|sat|sun) )?(?:\*-\*-\* )?([01]?[0-9]|2[0-3]):([0-5][0-9])(?::00)?"


def drawn_once(expression: str) -> str:
    """Replace each `a~b` in a crontab's fields by `H(a-b)`. For `a~b`, OpenBSD's cron and cronie draw a number at each
    load.
    """
    if "~" not in expression:
        return expression
    return " ".join(field_drawn_once(index, text) for index, text in enumerate(expression.split(" ")))


def field_drawn_once(index: int, text: str) -> str:
    """Replace each `a~b` in one field by `H(a-b)`."""
    return ",".join(_hashed(index, item) for item in text.split(","))


def _hashed(index: int, item: str) -> str:
    low, tilde, high = item.partition("~")
    first, last = _RANGES[index]
    return f"H({low or first}-{high or last})" if tilde else item


def in_a_job(text: str) -> str:
    """Return the keys for the first crontab line, such as ``schedule: "0 2 * * *", command: x``, or "" if the
    text has none.
    """
    found = re.search(_LINE, text)
    if found is None or len(found[0]) > _MOST:
        return ""
    return f'schedule: "{" ".join(found["time"].split())}", {behind_the_fields(found["rest"].rstrip())}'


def behind_the_fields(text: str) -> str:
    """Return the keys for the text after the five fields: a command, or a user and a command as in /etc/crontab."""
    found = re.fullmatch(_WITH_USER, text)
    user = f"user: {found['user']}, " if found else ""
    command, *lines = (part.replace("\\%", "%") for part in re.split(_PERCENT, found["command"] if found else text))
    stdin = ", stdin: " + json.dumps("\n".join([*lines, ""])) if lines else ""
    return f"{user}command: {_value(command)}{stdin}"


def _value(text: str) -> str:
    """Return a string as a YAML value."""
    return text if re.fullmatch(_PLAIN, text) and not text.endswith(" ") else "'" + text.replace("'", "''") + "'"


def meant_time(text: str) -> str:
    """Return the text to write instead of a time such as ``daily``, ``10m`` or systemd's ``*-*-* 02:00:00``, or "" if
    there is no guess.
    """
    if (name := f"@{text}") in (*ALIASES, "@reboot") or (name := _IN_WORDS.get(text, "")):
        return f'`"{name}"`'
    if re.fullmatch(_EASY_INTERVAL, text):
        return f"it as a key, like `every: {text}`"
    if found := re.fullmatch(_CALENDAR, text):
        return f'`"{int(found[3])} {int(found[2])} * * {found[1] or "*"}"`'
    return ""
