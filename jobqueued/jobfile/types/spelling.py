"""Parsers of durations and sizes, and guesses for misspelled values and names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND

DURATION = "(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?"
SIZE = "([0-9]{1,9})([KMGT])|0"

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_UNIT = "|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?"


class Instead(ValueError):
    """A value was refused; the message is the spelling that was probably meant."""


def plain_name(name: str) -> str:
    """Return a name in lower case, without ``-``, ``_`` and spaces, to compare names."""
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the most similar name, or "" if more than a third of the letters differ."""
    word = plain_name(name)[:64]
    distance, near = min((_distance(word, plain_name(other)), other) for other in names)
    return near if word and distance <= len(word) // 3 else ""


def is_alone(name: str, names: Iterable[str]) -> bool:
    """Return whether the most similar name is unique."""
    word = plain_name(name)[:64]
    distances = sorted(_distance(word, plain_name(other)) for other in names)
    return distances[:1] != distances[1:2]


def parse_duration(text: str) -> int:
    """Return the nanoseconds in a string such as ``90s``, ``5m``, ``2h`` or ``1d12h``.

    Raises ValueError for anything else.
    """
    match = re.fullmatch(DURATION, text)
    if match is None or not text:
        raise ValueError(f"{text!r} is not a duration such as 90s, 5m, 2h or 1d12h")
    return sum(int(count) * unit for count, unit in zip(match.groups("0"), (DAY, HOUR, MINUTE, SECOND), strict=True))


def parse_size(text: str) -> int:
    """Return the bytes in a string such as ``512M`` or ``2G`` (powers of 1024) or ``0``.

    Raises ValueError for anything else.
    """
    match = re.fullmatch(SIZE, text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512M or 2G")
    return int(match[1] or 0) << {"K": 10, "M": 20, "G": 30, "T": 40, None: 0}[match[2]]


def meant_duration(text: str) -> str:
    """Return our spelling of another program's duration, such as ``90min`` or ``1.5h``, or "" if there is no guess."""
    if clock := re.fullmatch(r"(\d{1,4}):(\d\d):(\d\d)", text, re.ASCII):
        return _in_units(int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3]))
    if clock := re.fullmatch(r"(\d{1,4}):(\d\d)", text, re.ASCII):
        least = int(clock[1]) * 60 + int(clock[2])
        return f"{_in_units(least * 60)} or {_in_units(least)}" if least else ""
    if re.search("[0-9] ?M", text) and not text.startswith("PT"):  # means months in formats where capitals matter
        return ""
    plain = re.sub(r" and |(?<=[a-z])(?:, ?| )(?=\d)| (?=[a-z])|^pt(?=\d)", "", text.lower())
    parts: list[tuple[str, str]] = re.findall(r"(\d{1,6}(?:\.\d{1,3})?)([a-z]*)", plain, re.ASCII)
    if "".join(count + unit for count, unit in parts) != plain or not parts:
        return ""
    if any(not re.fullmatch(_UNIT, unit) or (not unit and len(parts) > 1) for _, unit in parts):
        return ""
    count, unit = parts[0]
    if len(parts) == 1 and count.isdigit() and not unit.startswith("w"):
        return count + (unit[:1] or "s")
    seconds = sum((float(count) * _UNITS[unit[:1]] for count, unit in parts), 0.0)
    return _in_units(int(seconds)) if unit and seconds.is_integer() else ""


def spelled_duration(span: int) -> str:
    """Return a duration (ns) as text for `parse_duration`, in whole seconds: ``1h30m``, ``0s``."""
    return _in_units(span // SECOND) or "0s"


def spelled_rate(runs: int, per: int) -> str:
    """Return a rate of runs in `per` (ns) as in a job file: ``20/1d``."""
    return f"{runs}/{spelled_duration(per)}"


def _in_units(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    found = ((days, "d"), (hours, "h"), (rest // 60, "m"), (rest % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in found if count)


def meant_size(text: str) -> str:
    """Return our spelling of another program's size, such as ``5MB`` or ``512Mi``, or "" if there is no guess."""
    if re.fullmatch("[1-9][0-9]{3,14}", text) and int(text) % 1024 == 0:
        power = next(power for power in (40, 30, 20, 10) if int(text) % (1 << power) == 0)
        return f"{int(text) >> power}{'KMGT'[power // 10 - 1]}"
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?) ?([kmgt])(?:i?b)?(?:ytes)?i?", text.lower(), re.ASCII)
    if found is None:
        return ""
    count, unit = float(found[1]), found[2].upper()
    while count % 1 and unit != "K":
        count, unit = count * 1024, "KMGT"["KMGT".index(unit) - 1]
    return "" if count % 1 else f"{count:.0f}{unit}"


ODD_SPACE = "[\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000]"
"""Characters that are invisible, or that look like a space but are no spaces for shells, cron and YAML."""


def odd_space_in(text: str) -> str:
    """Return the advice about the first odd space in a string, or "" if the text has no odd space."""
    found = re.search(ODD_SPACE, text)
    advice = "which shells and file systems do not treat as a space; expected a plain space, or none"
    return f"found {name_of_space(found[0])}, {advice}" if found else ""


def name_of_space(character: str) -> str:
    """Return an odd space's name for a message."""
    kind = {"\u00a0": "a no-break space", "\u200b": "a zero-width space"}.get(character, "an odd space")
    return f"{kind} (U+{ord(character):04X})"


def _distance(one: str, other: str) -> int:
    """Return how many letters to insert, delete or replace to change one word into the other (Levenshtein distance)."""
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, 1):
        above, row = row, [index]
        for column, match in enumerate(other, 1):
            row.append(min(row[-1] + 1, above[column] + 1, above[column - 1] + (letter != match)))
    return row[-1]
