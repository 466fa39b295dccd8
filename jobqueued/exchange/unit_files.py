"""Parses systemd's unit files: their settings by section, and the command lines and time spans in settings."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from jobqueued.jobfile.types.spelling import meant_duration, parse_duration

TRUE = ("1", "yes", "y", "true", "t", "on")
"""The values of a setting that mean yes, in lower case."""
_BLANKS = " \t\n\r"
_LINE_END = r"\r\n|[\n\r]"
Unit = dict[str, dict[str, list[str]]]
"""Section → setting → all its values; an empty value in the file removes the values before it."""


def read_unit(text: str, into: Unit | None = None) -> Unit:
    """Return a unit file's settings. With `into`, add the text of a drop-in to these earlier settings."""
    unit: Unit = {} if into is None else into
    section: dict[str, list[str]] = {}
    for line in _joined(text):
        if line.startswith("[") and line.endswith("]"):
            section = unit.setdefault(line[1:-1], {})
            continue
        name, equals, value = (part.strip(_BLANKS) for part in line.partition("="))
        if equals:
            section[name] = [*section.get(name, []), value] if value else []
    return unit


def _joined(text: str) -> Iterator[str]:
    """Yield lines without comments. A line that ends with a backslash is joined with the next line, with a blank
    between them.
    """
    begun = ""
    for raw in re.split(_LINE_END, text):
        if raw.lstrip(_BLANKS).startswith(("#", ";")):
            continue
        begun += raw
        if (len(raw) - len(raw.rstrip("\\"))) % 2:
            begun = f"{begun[:-1]} "
            continue
        yield begun.strip(_BLANKS)
        begun = ""
    if begun:
        yield begun.strip(_BLANKS)


def span_of(text: str) -> int:
    """Return the length (ns) of a time span such as ``1h 30min``. Raises ValueError if a job file can't express it."""
    spelled = f"{text}s" if text.isdigit() else meant_duration(text) or text
    try:
        return parse_duration(spelled)
    except ValueError:
        raise ValueError(f"{text!r} is not a time span that a job file can express") from None


def words_of(text: str) -> list[str]:
    """Return the words of a list setting, with quotes and escapes resolved.

    Raises ValueError if a quote is not closed or an escape is invalid.
    """
    return [word for _, word in _tokens(text)]


def commands_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in a line; a separate ``;`` ends a command. Raises ValueError like `words_of`."""
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
    """Yield a pair for each word: the word as written, and the word with quotes and escapes resolved.

    Raises ValueError like `words_of`.
    """
    place = 0
    for found in _WORD.finditer(text):
        if found.start() != place:
            raise ValueError("No closing quotation")
        place = found.end()
        if raw := found[0].strip(_BLANKS):
            yield raw, _PIECE.sub(_meant, raw)
    if place != len(text):
        raise ValueError("No closing quotation")


_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_WORD = re.compile(rf"(?s)[ \t\n\r]*(?:{_QUOTED}|\\.|[^ \t\n\r\"'\\])*(?:[ \t\n\r]+|\\?$)")
_ESCAPE = r"\\(?:x[0-9A-Fa-f]{2}|[0-7]{3}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)"
_PIECE = re.compile(rf"(?s){_QUOTED}|{_ESCAPE}")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}


def _meant(found: re.Match[str]) -> str:
    """Return the meaning of a quoted part of a word, or of an escape sequence. An escape that systemd does not define
    is returned unchanged.
    """
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
    if not number or number > (sys.maxunicode if kind in "uU" else 127):
        raise ValueError(f"found {text}, which is not {'a Unicode' if kind in 'uU' else 'an ASCII'} character")
    return chr(number)


def has_specifier(text: str) -> bool:
    """Return whether a string has a specifier such as ``%i``, which systemd would replace."""
    return "%" in text.replace("%%", "")


def has_variable(text: str) -> bool:
    """Return whether a command's word has a variable such as ``$X``."""
    return "$" in text.replace("$$", "")
