"""Unit files of systemd: text → settings by section, and the command lines and time spans in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from jobqueued.jobfile.spelling import meant_duration, parse_duration

Unit = dict[str, dict[str, list[str]]]
"""By section and name all values of a setting; an empty value has taken away those before it."""


def read_unit(text: str, into: Unit | None = None) -> Unit:
    """The settings of a unit file, or of one with a drop-in read into it."""
    unit: Unit = {} if into is None else into
    section: dict[str, list[str]] = {}
    for line in _joined(text):
        if line.startswith("[") and line.endswith("]"):
            section = unit.setdefault(line[1:-1], {})
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if equals:
            section[name] = [*section.get(name, []), value] if value else []
    return unit


def _joined(text: str) -> Iterator[str]:
    """Yield lines without comments, those that end in a backslash with the next."""
    begun = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not begun):
            continue
        if line.endswith("\\"):
            begun += f"{line[:-1]} "
            continue
        yield begun + line
        begun = ""
    if begun:
        yield begun


def span_of(text: str) -> int:
    """Nanoseconds of a time span such as ``1h 30min``; ValueError."""
    spelled = f"{text}s" if text.isdigit() else meant_duration(text) or text
    try:
        return parse_duration(spelled)
    except ValueError:
        raise ValueError(f"{text!r} is no time span that a job could have") from None


def words_of(text: str) -> list[str]:
    """The words of a command line or a list of settings, quotes and escapes resolved; ValueError."""
    reader = shlex.shlex(text, posix=True, punctuation_chars=False)
    reader.whitespace_split, reader.commenters, reader.escapedquotes = True, "", "\"'"
    return [word.replace("%%", "%") for word in reader]


def is_plain(text: str) -> bool:
    """Tell whether a text has no specifier (``%i``) and no variable (``$X``) that systemd would put something for."""
    return not re.search(r"%(?!%)|\$(?!\$)", text.replace("%%", ""))
