"""Unit files of systemd: text → settings by section, and the command lines and time spans in them."""

from __future__ import annotations

import re
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
    """Yield lines without comments; a backslash at the end of one is a blank, and the next line goes on there."""
    begun = ""
    for raw in text.splitlines():
        if raw.lstrip().startswith(("#", ";")):
            continue
        begun += raw
        if (len(raw) - len(raw.rstrip("\\"))) % 2:
            begun = f"{begun[:-1]} "
            continue
        yield begun.strip()
        begun = ""
    if begun:
        yield begun.strip()


def span_of(text: str) -> int:
    """Nanoseconds of a time span such as ``1h 30min``; ValueError."""
    spelled = f"{text}s" if text.isdigit() else meant_duration(text) or text
    try:
        return parse_duration(spelled)
    except ValueError:
        raise ValueError(f"{text!r} is no time span that a job could have") from None


def words_of(text: str) -> list[str]:
    """The words of a list of settings, quotes and escapes resolved; ValueError."""
    return [word for _, word in _tokens(text)]


def commands_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line, which a ``;`` of its own parts; ValueError."""
    words = list[str]()
    for raw, word in _tokens(text):
        if raw != ";":
            words.append(";" if raw == "\\;" else word)
        elif words:
            yield words
            words = []
    if words:
        yield words


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield each word as it is written, and as it is meant; ValueError."""
    place = 0
    for found in _WORD.finditer(text):
        if found.start() != place:
            raise ValueError("No closing quotation")
        place = found.end()
        if raw := found[0].strip(_BLANKS):
            yield raw, _PIECE.sub(_meant, raw)
    if place != len(text):
        raise ValueError("No closing quotation")


_BLANKS = " \t\n\r"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_WORD = re.compile(rf"(?s)[ \t\n\r]*(?:{_QUOTED}|\\.|[^\s\"'\\])*(?:[ \t\n\r]+|\\?$)")
_ESCAPE = r"\\(?:x[0-9A-Fa-f]{2}|[0-7]{3}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)"
_PIECE = re.compile(rf"(?s){_QUOTED}|{_ESCAPE}")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}


def _meant(found: re.Match[str]) -> str:
    """A quoted part of a word, or an escape, as it is meant; one that systemd does not know stays as it is."""
    text = found[0]
    if text[0] in "\"'":
        return re.sub(rf"(?s){_ESCAPE}", _meant, text[1:-1])
    kind, digits = text[1], text[2:]
    if kind in _LETTERS:
        return _LETTERS[kind]
    if kind in "\\\"'":
        return kind
    if not digits:
        return text
    number = int(text[1:], 8) if kind in "01234567" else int(digits, 16)
    if not number or (kind not in "uU" and number > 127):
        raise ValueError(f"found {text}, which is no character of ASCII")
    return chr(number)


def has_specifier(text: str) -> bool:
    """Tell whether there is a specifier (``%i``) in a text, for which systemd would put something."""
    return "%" in text.replace("%%", "")


def has_variable(text: str) -> bool:
    """Tell whether there is a variable (``$X``) in a word of a command."""
    return "$" in text.replace("$$", "")
