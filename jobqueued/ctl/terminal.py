"""Output to the terminal: tables that fit it, times and sizes for people, and no control characters from jobs."""

from __future__ import annotations

import json
import pwd
import re
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobqueued.text import duration, printable

_PIPE_WIDTH = 1000
_COLUMN_WIDTH = 24
_GAP = 2

_STYLES = {
    "Running": "cyan", "Waiting": "yellow", "Retrying": "yellow", "Failed": "red", "Disabled": "dim",
    "Paused": "yellow", "Invalid": "red", "Completed": "green", "Missed": "red", "ok": "green",
    "degraded": "red", "down": "red",
    "running": "cyan", "starting": "cyan", "stopping": "yellow", "waiting": "yellow", "due": "yellow",
    "retrying": "yellow", "succeeded": "green", "failed": "red",
    "timed_out": "red", "killed": "red", "oom_killed": "red", "lost": "red", "skipped": "yellow", "error": "red",
    "warning": "yellow",
}  # fmt: skip

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field and exact values.")


def counted(count: int, noun: str) -> str:
    """A number with its noun: ``1 job``, ``2 jobs``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


JSON_SCHEMA = 1
"""The version of the documents that `--json` prints: it grows when a field goes or changes, not when one is added."""


def print_json(document: Mapping[str, object]) -> None:
    """Print a JSON document with its `schema`, in ASCII: no character of it can harm a terminal."""
    click.echo(json.dumps({"schema": JSON_SCHEMA, **document}, indent=2))


def styled(word: str | None, like: str = "") -> Text:
    """A state, status or severity in its colour; or another text in that of the state `like`."""
    return Text(printable(word or "-"), _STYLES.get(like or word or "", ""))


def print_line(line: str, style: str = "") -> None:
    """Print one line of text, however long."""
    console().print(Text(printable(line), style), soft_wrap=True)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]], keep: int = 2) -> None:
    """Print rows under headings; a pipe gets all columns, and no blanks at the end of lines.

    On a terminal columns are left out from the right until the rest fits, and that is said; the first `keep` columns
    stay, and their cells are wrapped.
    """
    screen = console()
    found = table(headings, rows, keep=keep)
    _print(screen, found)
    if screen.is_terminal and (hidden := headings[len(found.columns) :]):
        screen.print(Text(f"(not shown here: {', '.join(hidden)})", "dim"))


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]], width: int = 0, keep: int = 2) -> Table:
    """A table to be printed, of its first `keep` columns at least; `width`: of another terminal than the console's."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(_texts(headings), *cells, strict=True)]
    shown = _fitting(widths, width or console().width, keep)
    found = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings[:shown]:
        found.add_column(heading, overflow="fold")
    for row in cells:
        found.add_row(*row[:shown])
    return found


def print_facts(facts: Iterable[tuple[str, str | Text | None]]) -> None:
    """Print one fact a line, its name before it; those that are None are left out."""
    found = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=False)
    found.add_column(style="bold", no_wrap=True)
    found.add_column(overflow="fold")
    for name, value in facts:
        if value is not None:
            found.add_row(name, _text(value))
    _print(console(), found)


def _print(screen: Console, found: Table) -> None:
    if screen.is_terminal:
        screen.print(found)
        return
    with screen.capture() as printed:
        screen.print(found)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))
    sys.stdout.flush()  # a full disk is told by who called us


def moment(text: str | None) -> str:
    """An RFC 3339 instant in the local zone, with its distance from now: ``2026-11-24 02:00:00 CET (5 min ago)``."""
    return "-" if text is None else f"{local(text)} ({distance(text)})"


def person(text: str) -> str:
    """Words that name users by number, as the daemon does, with their names on this host: ``stopped by alice``."""

    def named(found: re.Match[str]) -> str:
        with suppress(KeyError, OverflowError):
            return pwd.getpwuid(int(found[1])).pw_name
        return found[0]

    return re.sub(r"\buid (\d+)\b", named, text)


def local(text: str, zone: ZoneInfo | None = None) -> str:
    """An RFC 3339 instant in a zone, None: the local one, which it names: ``2026-11-24 02:00:00 CET``."""
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def distance(text: str | None) -> str:
    """The time from now to an instant: ``in 3 h 2 min``, ``5 min 3 s ago``."""
    if text is None:
        return "-"
    ahead = datetime.fromisoformat(text).timestamp() - time.time()
    return f"in {duration(ahead)}" if ahead > 0 else f"{duration(-ahead)} ago"


def console() -> Console:
    """A console as wide as $COLUMNS, else the terminal, else without a limit; rich respects $NO_COLOR."""
    unknown = 80 if sys.stdout.isatty() else _PIPE_WIDTH
    width, height = shutil.get_terminal_size((unknown, 24))
    return Console(width=width, height=height, markup=False, emoji=False, highlight=False)


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell))


def _texts(cells: Iterable[str]) -> list[Text]:
    return [_text(cell) for cell in cells]


def _fitting(widths: Sequence[int], room: int, keep: int) -> int:
    """The number of columns that fit, at least `keep`; cells wider than `_COLUMN_WIDTH` can be folded."""
    shown = len(widths)
    while shown > keep and sum(min(width, _COLUMN_WIDTH) + _GAP for width in widths[:shown]) - _GAP > room:
        shown -= 1
    return shown
