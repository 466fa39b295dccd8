"""Output to the terminal: tables that fit it, readable times and sizes, and no control characters from jobs."""

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
"""The version of the `--json` documents: it grows when a field is removed or changed, not when one is added."""


def print_json(document: Mapping[str, object]) -> None:
    """Print a JSON document with its `schema`; it is ASCII, so that no character can harm a terminal."""
    click.echo(json.dumps({"schema": JSON_SCHEMA, **named(dict(document))}, indent=2))


def print_json_line(document: Mapping[str, object]) -> None:
    """Print a JSON document as one line and flush it, for programs that read one document after another."""
    sys.stdout.write(json.dumps({"schema": JSON_SCHEMA, **named(dict(document))}) + "\n")
    sys.stdout.flush()


def print_json_list(document: Mapping[str, object], name: str, items: Iterable[Mapping[str, object]]) -> None:
    """Print a JSON document whose last field has many items; each item is a line and is not kept in memory."""
    head, between = json.dumps({"schema": JSON_SCHEMA, **document}).removesuffix("}"), ""
    sys.stdout.write(f'{head}, "{name}": [\n')
    for item in items:
        sys.stdout.write(between + json.dumps(item))
        between = ",\n"
    sys.stdout.write("\n]}\n")
    sys.stdout.flush()


ASKERS = {"asked_by": "asked_by", "held_by": "held_until"}
"""Field that may contain a uid → field that only objects with such a uid have."""


def named(value: Any) -> Any:
    """Return a document with the names that users have on this host added to their uids: ``asked_by_name``."""
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
    """Return the name of a user: ``alice`` for ``uid 1000``, or None if this host has no such user."""
    with suppress(KeyError, OverflowError):
        return pwd.getpwuid(int(text.removeprefix("uid "))).pw_name if text.startswith("uid ") else text
    return None


def styled(word: str | None, like: str = "") -> StyledText:
    """Return a state, status or severity in its colour, or any text in the colour of the state `like`."""
    return StyledText(printable(word or "-"), _STYLES.get(like or word or "", ""))


def print_line(line: str, style: str = "") -> None:
    """Print a text as one line, however long."""
    _write(Table(console(), [[StyledText(printable(line), style)]], (0,), None))


def print_pieces(lines: Iterable[Iterable[Cell]]) -> None:
    """Print lines that consist of pieces, some in a colour; a piece that is not a Text is printed unchanged."""
    screen = console()
    for line in lines:
        sys.stdout.write("".join(painted(piece, screen) for piece in line).rstrip() + "\n")
    sys.stdout.flush()


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], keep: Sequence[str] = ()) -> None:
    """Print rows under headings; a pipe gets all columns, each row as one line.

    A terminal gets no column that is empty in all rows. Columns are dropped until the rest fits, and a line names them.
    The columns of `keep`, the most important first, are dropped last.
    """
    cells, width = list(rows), room()
    if width is not None:
        used = [place for place, name in enumerate(headings) if name in keep or not _is_empty(cells, place)]
        headings, cells = [headings[place] for place in used], [[row[place] for place in used] for row in cells]
    found = table(headings, cells, [name for name in keep if name in headings], width)
    _write(found)
    hidden = [heading for place, heading in enumerate(headings) if place not in found.shown]
    if hidden and (screen := console()) is not None and screen.is_terminal:
        from rich.text import Text as Wrapped

        screen.print(Wrapped(f"(not shown here: {', '.join(hidden)})", "dim"))


def _is_empty(rows: Sequence[Sequence[Cell]], place: int) -> bool:
    """Return whether a column has nothing to show: only ``-`` and ``0``."""
    cells = (row[place] for row in rows)
    return bool(rows) and all((cell if isinstance(cell, str) else cell.plain) in ("-", "0", "") for cell in cells)


class Columns(NamedTuple):
    """A table of a document's items: its headings, a function for an item's cells, and `keep` (see print_table)."""

    headings: Sequence[str]
    cells: Callable[[Any], Sequence[Cell]]
    keep: Sequence[str] = ()

    def print(self, items: Iterable[Any]) -> None:
        """Print one item per row."""
        print_table(self.headings, map(self.cells, items), self.keep)


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], keep: Sequence[str], width: int | None) -> Table:
    """Return a table with its headings; by default the first two columns are kept."""
    kept = [headings.index(heading) for heading in keep or headings[:2]]
    return Table(console(), [[StyledText(heading, "bold") for heading in headings], *rows], kept, width)


def print_values(rows: Iterable[Sequence[object]]) -> None:
    """Print rows for programs: tabs between values, commas between a list's items; no value has a tab or line end."""
    for row in rows:
        values = (
            ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
            for value in row
        )
        sys.stdout.write("\t".join(map(printable, values)) + "\n")
    sys.stdout.flush()


def print_facts(facts: Iterable[tuple[str, str | StyledText | None]]) -> None:
    """Print one fact per line, after its name; facts that are None are left out."""
    rows = [(StyledText(name, "bold"), value) for name, value in facts if value is not None]
    _write(Table(console(), rows, (0, 1), room()))


def _write(found: Table) -> None:
    for line in found.lines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # the caller reports a full disk


def moment(text: str | None) -> str:
    """Format an RFC 3339 instant in the local zone, with its distance: ``2026-11-24 02:00:00 CET (5 min ago)``."""
    return "-" if text is None else f"{local(text)} ({distance(text)})"


def command(words: str) -> str:
    """Return a command line of jobqueuectl that reaches the same daemon as this one: with its options."""
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
    """Return a text of the daemon with local user names (``stopped by alice``), local times, and reachable remedies.

    Remedies get the options that reach the same daemon.
    """

    words = re.sub(r"\buid \d+\b", lambda found: user_named(found[0]) or found[0], text)
    return re.sub(_INSTANT, lambda found: local(found[0]), reaching(words))


def reaching(text: str) -> str:
    """Return a message whose remedies (``see: jobqueuectl list``) have the options that reach the same daemon."""
    return text_reaching(text, command("").rstrip()) if "jobqueuectl" in text else text


_INSTANT = r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def local(text: str, zone: tzinfo | None = None) -> str:
    """Format an RFC 3339 instant in a zone (None means the local one), with its name: ``2026-11-24 02:00:00 CET``."""
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def distance(text: str | None) -> str:
    """Format the time from now to an instant: ``in 3 h 2 min``, ``5 min 3 s ago``; "-" for None."""
    if text is None:
        return "-"
    ahead = datetime.fromisoformat(text).timestamp() - time.time()
    return f"in {duration(ahead)}" if ahead > 0 else f"{duration(-ahead)} ago"


def console() -> Console | None:
    """Return the user's terminal, or a console if variables force colours into a pipe; None for plain text.

    For plain text, rich is not imported.
    """
    if not (sys.stdout.isatty() or any(map(os.environ.get, _FORCING))):
        return None
    return rich_console()


_FORCING = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""Variables that make rich treat a pipe as a terminal."""


def rich_console() -> Console:
    """Return a console with the width of `room`; rich respects $NO_COLOR."""
    from rich.console import Console

    height = shutil.get_terminal_size((0, 24)).lines  # else rich gives a dumb terminal 80 columns
    return Console(width=room() or _PIPE_WIDTH, height=height, markup=False, emoji=False, highlight=False)


def room() -> int | None:
    """Return the width of a line in cells: $COLUMNS, else the terminal's; None for a pipe, which has no limit."""
    return shutil.get_terminal_size((0, 24)).columns or (80 if sys.stdout.isatty() else None)
