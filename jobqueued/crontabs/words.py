"""The parts of a crontab line: an assignment, as cron's load_env() reads it, or a command and its standard input."""

from __future__ import annotations

import re

_ASSIGNMENT = re.compile(
    r"""(?:"([^"=]+)"|'([^'=]+)'|((?!["'])[^\s=]++))\s*+=\s*+(?:"([^"]*)"\s*|'([^']*)'\s*|((?!["']).*))""", re.ASCII
)
_SPACE = " \t\r\v\f"
_PERCENT = re.compile(r"\\.|%", re.DOTALL)
_IN_INPUT = re.compile(r"\\?%")


def assignment(text: str) -> tuple[str, str] | None:
    """Return the name and value of ``NAME = value``, or None if the line is something else.

    Name and value may be in single or double quotes, which preserve blanks; only blanks may follow a closing quote.
    Variables are not expanded, and a backslash is a plain character.
    """
    found = _ASSIGNMENT.fullmatch(text.lstrip(" \t"))
    if found is None:
        return None
    double, single, plain, *value = found.groups()
    quoted = next((part for part in value[:2] if part is not None), None)
    return double or single or plain, (value[2] or "").rstrip(_SPACE) if quoted is None else quoted


def split_command(text: str) -> tuple[str, str | None]:
    """Return a command and its standard input, which is the text after the first ``%``, or None if there is no ``%``.
    Further ``%`` are newlines.

    ``\\%`` is a plain character. In the command, ``\\\\`` is one backslash (cronie keeps both); in the input, it is
    two, as in Debian's do_command.c.
    """
    command, behind = [], 0
    for found in _PERCENT.finditer(text):
        if found[0] == "%":
            command.append(text[behind : found.start()])
            return "".join(command), _input(text[found.end() :])
        if found[0] in ("\\%", "\\\\"):
            command.append(text[behind : found.start()])
            behind = found.start() + 1
    return "".join([*command, text[behind:]]), None


def _input(text: str) -> str:
    lines = _IN_INPUT.sub(lambda found: "\n" if found[0] == "%" else "%", text)
    return lines if not lines or lines.endswith("\n") else f"{lines}\n"
