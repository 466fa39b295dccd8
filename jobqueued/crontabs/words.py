"""The words of a crontab's line: an assignment as cron's load_env() reads it, and a command apart from its input."""

from __future__ import annotations

import re

_ASSIGNMENT = re.compile(
    r"""(?:"([^"=]+)"|'([^'=]+)'|((?!["'])[^\s=]++))\s*+=\s*+(?:"([^"]*)"\s*|'([^']*)'\s*|((?!["']).*))""", re.ASCII
)
_SPACE = " \t\r\v\f"
_PERCENT = re.compile(r"\\.|%", re.DOTALL)
_IN_INPUT = re.compile(r"\\?%")


def assignment(text: str) -> tuple[str, str] | None:
    """The name and value of ``NAME = value``; None: the line is something else.

    Either may be in quotes, single or double, and then keeps blanks; behind a closing quote only blanks may follow.
    Nothing is expanded and no backslash means anything.
    """
    found = _ASSIGNMENT.fullmatch(text.lstrip(" \t"))
    if found is None:
        return None
    double, single, plain, *value = found.groups()
    quoted = next((part for part in value[:2] if part is not None), None)
    return double or single or plain, (value[2] or "").rstrip(_SPACE) if quoted is None else quoted


def split_command(text: str) -> tuple[str, str | None]:
    """A command, and its standard input: what is behind the first ``%``, each further one a new line; None: no ``%``.

    ``\\%`` is a plain character.  In the command ``\\\\`` is one backslash (cronie leaves both), in the input two, as
    in Debian's do_command.c.
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
