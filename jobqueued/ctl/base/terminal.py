"""Output to the terminal: tables that fit, readable times and sizes, and no control characters from jobs."""

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

from jobqueued.base.text import duration, printable
from jobqueued.base.text import reaching as text_reaching
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.base.table import Cell, StyledText, Table, painted

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
"""The version of the `--json` documents. It grows when a field is removed or changed, not when a field is added."""


def print_json(document: Mapping[str, object]) -> None:
    """Print a JSON document with the field `schema`, in ASCII, so that no character can harm a terminal."""
    click.echo(json.dumps({"schema": JSON_SCHEMA, **named(dict(document))}, indent=2))


def print_json_line(document: Mapping[str, object]) -> None:
    """Print a JSON document as one line and flush it, for programs that read a stream of documents."""
    sys.stdout.write(json.dumps({"schema": JSON_SCHEMA, **named(dict(document))}) + "\n")
    sys.stdout.flush()


def print_json_list(document: Mapping[str, object], name: str, items: Iterable[Mapping[str, object]]) -> None:
    """Print a JSON document whose last field `name` has many items: print one item per line without keeping the items
    in memory.
    """
    head, between = json.dumps({"schema": JSON_SCHEMA, **document}).removesuffix("}"), ""
    sys.stdout.write(f'{head}, "{name}": [\n')
    for item in items:
        sys.stdout.write(between + json.dumps(item))
        between = ",\n"
    sys.stdout.write("\n]}\n")
    sys.stdout.flush()


ASKERS = {"asked_by": "asked_by", "held_by": "held_until"}
"""Field that may contain a UID → field whose presence in the same object confirms the UID."""


def named(value: Any) -> Any:
    """Return a document with this host's user names in additional fields, such as ``asked_by_name``."""
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
    """Return the user name for a string such as ``uid 1000``, or None if this host has no such user."""
    with suppress(KeyError, OverflowError):
        return pwd.getpwuid(int(text.removeprefix("uid "))).pw_name if text.startswith("uid ") else text
    return None


def styled(word: str | None, like: str = "") -> StyledText:
    """Return a state, status or severity in its colour. If `like` is given, use that state's colour instead."""
    return StyledText(printable(word or "-"), _STYLES.get(like or word or "", ""))


def print_line(line: str, style: str = "") -> None:
    """Print a string as one line, however long it is."""
    _write(Table(console(), [[StyledText(printable(line), style)]], (0,), None))


def print_pieces(lines: Iterable[Iterable[Cell]]) -> None:
    """Print lines that consist of pieces. A StyledText is printed in its style, and a str unchanged."""
    screen = console()
    for line in lines:
        sys.stdout.write("".join(painted(piece, screen) for piece in line).rstrip() + "\n")
    sys.stdout.flush()


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], keep: Sequence[str] = ()) -> None:
    """Print rows under headings. In a pipe, print all columns, and each row as one line.

    On a terminal, omit columns that are empty in all rows, and drop columns until the rest fits; a line names the
    dropped columns. The columns of `keep`, the most important first, are dropped last.
    """
    cells, width, keep = list(rows), room(), keep or headings[:2]
    if width is not None:
        used = [place for place, name in enumerate(headings) if name in keep or not _is_empty(cells, place)]
        headings, cells = [headings[place] for place in used], [[row[place] for place in used] for row in cells]
    found = table(headings, cells, keep, width)
    _write(found)
    hidden = [heading for place, heading in enumerate(headings) if place not in found.shown]
    if hidden and (screen := console()) is not None and screen.is_terminal:
        from rich.text import Text as Wrapped

        screen.print(Wrapped(f"(not shown here: {', '.join(hidden)})", "dim"))


def _is_empty(rows: Sequence[Sequence[Cell]], place: int) -> bool:
    """Return whether a column contains only ``-`` and ``0``."""
    cells = (row[place] for row in rows)
    return bool(rows) and all((cell if isinstance(cell, str) else cell.plain) in ("-", "0", "") for cell in cells)


class Columns(NamedTuple):
    """The columns of a table: headings, a function that returns an item's cells, and `keep` (see print_table)."""

    headings: Sequence[str]
    cells: Callable[[Any], Sequence[Cell]]
    keep: Sequence[str] = ()

    def print(self, items: Iterable[Any]) -> None:
        """Print one item per row."""
        print_table(self.headings, map(self.cells, items), self.keep)


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], keep: Sequence[str], width: int | None) -> Table:
    """Return a table with its headings. `keep` lists the columns to drop last, by default the first two."""
    kept = [headings.index(heading) for heading in keep or headings[:2]]
    return Table(console(), [[StyledText(heading, "bold") for heading in headings], *rows], kept, width)


def print_values(rows: Iterable[Sequence[object]]) -> None:
    """Print rows for programs: tabs between values, commas between a list's items.

    Values contain no tab or line end.
    """
    for row in rows:
        values = (
            ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
            for value in row
        )
        sys.stdout.write("\t".join(map(printable, values)) + "\n")
    sys.stdout.flush()


def print_facts(facts: Iterable[tuple[str, str | StyledText | None]]) -> None:
    """Print one fact per line, after its name; omit facts that are None.

    On a terminal, a value with several lines, such as a command, is printed as several lines.
    """
    width = room()
    rows: list[list[Cell]] = []
    for name, value in facts:
        if value is not None:
            lines = value.splitlines() if width is not None and isinstance(value, str) else [value]
            rows += [[StyledText("" if number else name, "bold"), line] for number, line in enumerate(lines or [""])]
    _write(Table(console(), rows, (0, 1), width))


def _write(found: Table) -> None:
    for line in found.lines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # flush here, so that the caller reports a full disk


def moment(text: str | None) -> str:
    """Format an RFC 3339 instant in the local zone, with its distance: ``2026-11-24 02:00:00 CET (5 min ago)``."""
    return "-" if text is None else f"{local(text)} ({distance(text)})"


def command(words: str) -> str:
    """Return a command line of jobqueuectl with the options that reach this command's daemon."""
    from jobqueued.settings.instance import program

    return " ".join([program("jobqueuectl"), *map(shlex.quote, options_given()), words])


def options_given() -> list[str]:
    """Return the options on this command line that choose the daemon."""
    context = click.get_current_context(silent=True)
    root = None if context is None else context.find_root()
    given = [
        (name, value)
        for name, value in (root.params if root else {}).items()
        if name in CHOOSING and value and root and root.get_parameter_source(name) == ParameterSource.COMMANDLINE
    ]
    return [word for name, value in given for word in (f"--{name}", *([str(value)] if isinstance(value, Path) else []))]


CHOOSING = ("root", "user", "config", "jobs", "run", "logs")
"""Options of `main` that choose the daemon."""


def localised(text: str) -> str:
    """Return the daemon's text with local user names (``stopped by alice``) and local times.

    The text's remedies get the options that reach the same daemon.
    """

    words = re.sub(r"\buid \d+\b", lambda found: user_named(found[0]) or found[0], text)
    return re.sub(_INSTANT, lambda found: local(found[0]), reaching(words))


def reaching(text: str) -> str:
    """Return a message whose remedies (``see: jobqueuectl list``) have the options that reach the same daemon."""
    return text_reaching(text, command("").rstrip()) if "jobqueuectl" in text else text


_INSTANT = r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def local(text: str, zone: tzinfo | None = None) -> str:
    """Format an RFC 3339 instant in a zone (None means local) with the zone's name: ``2026-11-24 02:00:00 CET``."""
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def distance(text: str | None) -> str:
    """Format the time from now to an instant: ``in 3 h 2 min``, ``5 min 3 s ago``; "-" for None."""
    if text is None:
        return "-"
    ahead = datetime.fromisoformat(text).timestamp() - time.time()
    return f"in {duration(ahead)}" if ahead > 0 else f"{duration(-ahead)} ago"


def console() -> Console | None:
    """Return a console for a terminal, or for a pipe if variables force colours.

    Return None for plain text, which does not need the import of rich.
    """
    if not (sys.stdout.isatty() or any(map(os.environ.get, _FORCING))):
        return None
    return rich_console()


_FORCING = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""Variables that make rich treat a pipe as a terminal."""


def rich_console() -> Console:
    """Return a console as wide as `room`; rich respects $NO_COLOR."""
    from rich.console import Console

    height = shutil.get_terminal_size((0, 24)).lines  # otherwise rich uses 80 columns for a dumb terminal
    return Console(width=room() or _PIPE_WIDTH, height=height, markup=False, emoji=False, highlight=False)


def room() -> int | None:
    """Return the width of a line in cells: $COLUMNS, else the terminal's width; None (no limit) for a pipe."""
    return shutil.get_terminal_size((0, 24)).columns or (80 if sys.stdout.isatty() else None)
