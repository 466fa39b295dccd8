"""Output to the terminal: tables that fit it, times and sizes for people, and no control characters from jobs."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jobqueued.child.tuples import NamedTuple
from jobqueued.ctl.table import Cell, Table, Text, painted
from jobqueued.text import duration, printable
from jobqueued.text import reaching as text_reaching

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 1000

_STYLES = {
    "Running": "cyan", "Waiting": "yellow", "Retrying": "yellow", "Failed": "red", "Disabled": "dim",
    "Paused": "yellow", "Invalid": "red", "Completed": "green", "Missed": "red", "Outdated": "red", "ok": "green",
    "degraded": "red", "down": "red", "unknown": "red",
    "running": "cyan", "starting": "cyan", "stopping": "yellow", "waiting": "yellow", "due": "yellow",
    "retrying": "yellow", "succeeded": "green", "failed": "red",
    "timed_out": "red", "killed": "red", "oom_killed": "red", "lost": "red", "skipped": "yellow", "error": "red",
    "warning": "yellow",
}  # fmt: skip

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field and exact values.")


JSON_SCHEMA = 1
"""The version of the documents that `--json` prints: it grows when a field goes or changes, not when one is added."""


def print_json(document: Mapping[str, object]) -> None:
    """Print a JSON document with its `schema`, in ASCII: no character of it can harm a terminal."""
    click.echo(json.dumps({"schema": JSON_SCHEMA, **named(dict(document))}, indent=2))


def print_json_line(document: Mapping[str, object]) -> None:
    """Print a JSON document as one line, at once: one of many, for who reads them as they come."""
    sys.stdout.write(json.dumps({"schema": JSON_SCHEMA, **named(dict(document))}) + "\n")
    sys.stdout.flush()


def print_json_list(document: Mapping[str, object], name: str, items: Iterable[Mapping[str, object]]) -> None:
    """Print a JSON document with a last field that may have many items, each of which is a line and not kept."""
    head, between = json.dumps({"schema": JSON_SCHEMA, **document}).removesuffix("}"), ""
    sys.stdout.write(f'{head}, "{name}": [\n')
    for item in items:
        sys.stdout.write(between + json.dumps(item))
        between = ",\n"
    sys.stdout.write("\n]}\n")
    sys.stdout.flush()


ASKERS = {"asked_by": "asked_by", "held_by": "held_until"}
"""Fields that have a user as the daemon knows one, by number; those that are so only beside another."""


def named(value: Any) -> Any:
    """A document with the names that users have on this host, beside their numbers: ``asked_by_name``."""
    if isinstance(value, list):
        return [named(it) for it in value] if value and isinstance(value[0], dict) else value
    if not isinstance(value, dict):
        return value
    found = {name: named(it) if isinstance(it, dict | list) else it for name, it in value.items()}
    for name, beside in ASKERS.items():
        if name in value and beside in value:
            found[f"{name}_name"] = value[name] and user_named(value[name])
    return found


@cache
def user_named(text: str) -> str | None:
    """The name of a user: ``alice`` for ``uid 1000``; None: this host has no such user."""
    with suppress(KeyError, OverflowError):
        return pwd.getpwuid(int(text.removeprefix("uid "))).pw_name if text.startswith("uid ") else text
    return None


def styled(word: str | None, like: str = "") -> Text:
    """A state, status or severity in its colour; or another text in that of the state `like`."""
    return Text(printable(word or "-"), _STYLES.get(like or word or "", ""))


def print_line(line: str, style: str = "") -> None:
    """Print one line of text, however long."""
    _write(Table(console(), [[Text(printable(line), style)]], (0,), None))


def print_pieces(lines: Iterable[Iterable[Cell]]) -> None:
    """Print lines that are made of pieces, some of them in a colour; what is no Text is printed as it is."""
    screen = console()
    for line in lines:
        sys.stdout.write("".join(painted(piece, screen) for piece in line).rstrip() + "\n")
    sys.stdout.flush()


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], keep: Sequence[str] = ()) -> None:
    """Print rows under headings; a pipe gets all columns, each row as one line.

    On a terminal columns are left out until the rest fits, and that is said: those of `keep`, the most important first,
    go last.
    """
    found = table(headings, rows, keep, room())
    _write(found)
    hidden = [heading for place, heading in enumerate(headings) if place not in found.shown]
    if hidden and (screen := console()) is not None and screen.is_terminal:
        from rich.text import Text as Wrapped

        screen.print(Wrapped(f"(not shown here: {', '.join(hidden)})", "dim"))


class Columns(NamedTuple):
    """A table of items of a document: its headings, the cells of an item, the columns to `keep` (print_table)."""

    headings: Sequence[str]
    cells: Callable[[Any], Sequence[Cell]]
    keep: Sequence[str] = ()

    def print(self, items: Iterable[Any]) -> None:
        """Print one item a row."""
        print_table(self.headings, map(self.cells, items), self.keep)


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], keep: Sequence[str], width: int | None) -> Table:
    """A table with its headings; the first two columns are kept at least."""
    kept = [headings.index(heading) for heading in keep or headings[:2]]
    return Table(console(), [[Text(heading, "bold") for heading in headings], *rows], kept, width)


def print_values(rows: Iterable[Sequence[object]]) -> None:
    """Print rows for programs: a tab between values, those of a list behind commas; none has a tab or line end."""
    for row in rows:
        values = (
            ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
            for value in row
        )
        sys.stdout.write("\t".join(map(printable, values)) + "\n")
    sys.stdout.flush()


def print_facts(facts: Iterable[tuple[str, str | Text | None]]) -> None:
    """Print one fact a line, its name before it; those that are None are left out."""
    rows = [(Text(name, "bold"), value) for name, value in facts if value is not None]
    _write(Table(console(), rows, (0, 1), room()))


def _write(found: Table) -> None:
    for line in found.lines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # a full disk is told by who called us


def moment(text: str | None) -> str:
    """An RFC 3339 instant in the local zone, with its distance from now: ``2026-11-24 02:00:00 CET (5 min ago)``."""
    return "-" if text is None else f"{local(text)} ({distance(text)})"


def command(words: str) -> str:
    """A command line of jobqueuectl that reaches the same daemon: with the options that chose it on this one."""
    from jobqueued.instance import program

    return " ".join([program("jobqueuectl"), *map(shlex.quote, options_given()), words])


def options_given() -> list[str]:
    """The options on this command line that have chosen the daemon."""
    context = click.get_current_context(silent=True)
    root = None if context is None else context.find_root()
    given = [
        (name, value)
        for name, value in (root.params if root else {}).items()
        if name in CHOOSING and value and root and root.get_parameter_source(name) == ParameterSource.COMMANDLINE
    ]
    return [word for name, value in given for word in (f"--{name}", *([str(value)] if isinstance(value, Path) else []))]


CHOOSING = ("root", "user", "config", "jobs", "run", "logs")
"""The options of `main` that choose the daemon."""


def localised(text: str) -> str:
    """Words of the daemon with users by their names on this host (``stopped by alice``), instants in its zone, and
    remedies that reach the same daemon.
    """

    words = re.sub(r"\buid \d+\b", lambda found: user_named(found[0]) or found[0], text)
    return re.sub(_INSTANT, lambda found: local(found[0]), reaching(words))


def reaching(text: str) -> str:
    """A message whose remedies (``see: jobqueuectl list``) reach the daemon that this command talks to."""
    return text_reaching(text, command("").rstrip()) if "jobqueuectl" in text else text


_INSTANT = r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def local(text: str, zone: tzinfo | None = None) -> str:
    """An RFC 3339 instant in a zone, None: the local one, which it names: ``2026-11-24 02:00:00 CET``."""
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def distance(text: str | None) -> str:
    """The time from now to an instant: ``in 3 h 2 min``, ``5 min 3 s ago``."""
    if text is None:
        return "-"
    ahead = datetime.fromisoformat(text).timestamp() - time.time()
    return f"in {duration(ahead)}" if ahead > 0 else f"{duration(-ahead)} ago"


def console() -> Console | None:
    """The terminal that a person has, or the colours that are wished for a pipe; None: plain text is all that is asked
    for, and rich need not be imported.
    """
    if not (sys.stdout.isatty() or any(map(os.environ.get, _FORCING))):
        return None
    return rich_console()


_FORCING = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""Variables by which rich takes a pipe for a terminal."""


def rich_console() -> Console:
    """A console as wide as `room` says; rich respects $NO_COLOR."""
    from rich.console import Console

    height = shutil.get_terminal_size((0, 24)).lines  # without it rich takes a dumb terminal for one of 80 columns
    return Console(width=room() or _PIPE_WIDTH, height=height, markup=False, emoji=False, highlight=False)


def room() -> int | None:
    """The cells of a line: $COLUMNS, else those of the terminal; None: a pipe has no limit."""
    return shutil.get_terminal_size((0, 24)).columns or (80 if sys.stdout.isatty() else None)
