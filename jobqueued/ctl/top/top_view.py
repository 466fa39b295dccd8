"""The screen of `top`: live runs, waiting runs and problems, as lines that fit a terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text as Line

from jobqueued.base.text import counted, duration, printable, size
from jobqueued.control.protocol.interface import HISTORY
from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base.client import OWN_ONLY
from jobqueued.ctl.base.table import Cell, StyledText
from jobqueued.ctl.base.terminal import distance, localised, room, styled, table

HIDDEN = "no permission to see live runs"
UNKNOWN: Message = {"waiting": None, "more_wait": None, "unwell": "the daemon is not reachable", "incidents": 0}
"""The queue while the daemon is down: its waiting runs are unknown."""
_BARS = " ▁▂▃▄▅▆▇█"
_BARS_SHOWN = 20
_PROGRESS = 6
_LEAST = 3
"""Minimum number of lines in a section: a blank line, the headings, and a run."""
_NAME, _BESIDE = 16, 52
"""Minimum width (cells) of a name, and the width of CPU, memory, state and progress next to the name."""
HEADINGS = (
    "RUN",
    "CPU",
    "MEMORY",
    "STATE",
    "PROGRESS",
    "TASKS",
    "READ",
    "WRITTEN",
    "CPU TIME",
    "STARTED",
    "RECENT CPU",
)
WAITING = ("WAITING", "STATE", "QUEUED", "FOR")
ORDERS: dict[str, Callable[[Message], Any]] = {
    "cpu": lambda run: -run["now"]["cpu"],
    "memory": lambda run: -run["now"]["memory"],
    "io": lambda run: -((run["now"]["io_read"] or 0) + (run["now"]["io_write"] or 0)),
    "tasks": lambda run: -run["now"]["tasks"],
    "started": lambda run: run["started"],
}


class TopView:
    """The screen for the frames so far. `note` is a remark above the runs.

    `daemon` returns the user of runs without the field `user`.
    """

    def __init__(self, jobs: Iterable[str], order: str, daemon: Callable[[], str]) -> None:
        self._jobs, self.order, self._daemon = set(jobs), order, daemon
        self.note = ""
        self.filter = ""
        self.marked = ""
        """The run that keys act on, or ""."""
        self._frame: Message = {}
        self._queue: Message = {**UNKNOWN, "unwell": ""}
        self._cpu: dict[str, deque[float]] = {}

    def take(self, frame: Message, note: str = "") -> Message:
        """Save the newest frame, and return the part about the jobs that the user chose."""
        self._frame, self.note = frame, note
        shown = {"": frame["host"], **{run["run"]: run for run in frame["runs"]}}
        for name, usage in shown.items():
            known = self._cpu.setdefault(name, deque(maxlen=HISTORY))
            known += [sample["cpu"] for sample in usage["history"] or [usage["now"]]]
        self._cpu = {name: known for name, known in self._cpu.items() if name in shown}
        return {**frame, "runs": self._live()}

    def take_queue(self, queue: Message) -> Message:
        """Save the queue and the problems, and return the part of the queue about the jobs that the user chose."""
        self._queue = queue
        return {"waiting": None if queue["waiting"] is None else self._waiting(), "more_wait": queue["more_wait"]}

    def _live(self) -> list[Message]:
        return sorted(filter(self._is_chosen, self._frame["runs"]), key=ORDERS[self.order])

    def _waiting(self) -> list[Message]:
        return list(filter(self._is_chosen, self._queue["waiting"] or ()))

    def _is_chosen(self, run: Message) -> bool:
        return (not self._jobs or run["job"] in self._jobs) and all(
            self._fits(word, run) for word in self.filter.split()
        )

    # the mark

    def runs(self) -> list[str]:
        """Return all runs that can be marked, from top to bottom."""
        return [run["run"] for run in (*self._live(), *self._waiting())] if self._frame else []

    def move(self, steps: int) -> None:
        """Move the mark by a number of runs, down if positive."""
        runs = self.runs()
        place = runs.index(self.marked) + steps if self.marked in runs else 0
        self.marked = runs[max(0, min(place, len(runs) - 1))] if runs else ""

    # lines

    def shown(self, width: int = 0, height: int = 0, foot: str = "") -> RenderableType:
        """Return the screen for a terminal of this size, with as many runs as fit.

        With size 0, include all runs, because the screen is printed once.
        """
        if not self._frame:
            return Line(self.note or "measuring …")
        lasts = height > 0
        head = self._head(lasts=lasts)[: max(0, height - _LEAST - bool(foot)) if lasts else None]
        live, waiting = self._live(), self._waiting()
        rest = height - len(head) - 1 - bool(foot) if lasts else len(live) + len(waiting) + 3
        is_tiny = lasts and rest < 2 * _LEAST and bool(waiting)
        nothing = (
            [] if live or is_tiny else [Line(self._nothing(), no_wrap=lasts, overflow="ellipsis" if lasts else "fold")]
        )
        if is_tiny and live:  # only one section fits: show the section with the mark
            live, waiting = ([], waiting) if self.marked in {run["run"] for run in waiting} else (live, [])
        behind = min(len(waiting) + 2, max(_LEAST, rest // 3, rest - len(live) - 1)) if waiting else 0
        row, waiting_row = partial(self._row, lasts=lasts, width=width), partial(self._waiting_row, width=width)
        found, hidden = self._section(HEADINGS, live, row, rest - behind if live else 0, width)
        lines = [*self._head(lasts=lasts, hidden=hidden)[: len(head)], Line(), *(found or nothing)]
        if waiting:
            lines += [Line()] if len(lines) > len(head) + 1 else []
            most = height - len(lines) - bool(foot) if lasts else rest
            lines += self._section(WAITING, waiting, waiting_row, most, width)[0]
        if hidden and not lasts and sys.stdout.isatty():
            lines.append(Line(f"(not shown here: {', '.join(hidden)})", "dim"))
        if lasts and foot:
            lines = [*lines[: height - 1], *[Line("")] * (height - 1 - len(lines)), bar(foot)]
        return Group(*(lines[:height] if lasts else lines))

    def _section(
        self, headings: Sequence[str], runs: list[Message], row: Callable[[Message], list[Cell]], most: int, width: int
    ) -> tuple[list[Line], list[str]]:
        """Return at most `most` lines with headings and the runs around the mark, and the headings that did not fit."""
        count = len(runs) if len(runs) < most else max(1, most - 2)
        place = next((place for place, run in enumerate(runs) if run["run"] == self.marked), 0)
        begin = max(0, min(place - count // 2, len(runs) - count))
        rows = [row(run) for run in runs[begin : begin + count]]
        if not rows:
            return [], []
        lines, hidden = self._table(headings, rows, width)
        if count < len(runs) and count + 2 <= most:
            lines.append(Line(f"and {len(runs) - count:,} more", "dim", no_wrap=True, overflow="ellipsis"))
        return lines, hidden

    def _table(self, headings: Sequence[str], rows: list[list[Cell]], width: int) -> tuple[list[Line], list[str]]:
        first = f"  {headings[0]}" if width > 0 else headings[0]
        found = table([first, *headings[1 : len(rows[0])]], rows, (), width or room())
        lines = [Line.from_ansi(line, no_wrap=True) for line in found.lines()]
        for line in lines:
            if line.plain.startswith("> "):
                line.stylize("bold")
        return lines, [it for place, it in enumerate(headings[: len(rows[0])]) if place not in found.shown]

    def _nothing(self) -> str:
        if HIDDEN in self.note:
            return f"{HIDDEN.capitalize()}."
        if self.filter:
            return f"No live run fits {self.filter}."
        if not self._jobs and OWN_ONLY in self.note:
            return "No run of your own jobs is live."
        return f"No run of {' or '.join(sorted(self._jobs))} is live." if self._jobs else "No run is live."

    def _head(self, *, lasts: bool, hidden: Sequence[str] = ()) -> list[Line]:
        host, now, cpus = self._frame["host"], self._frame["host"]["now"], self._frame["host"]["cpus"]
        bars = f"{' ' * lasts}{self._bars('', cpus) if lasts else ''}"
        head = [
            (
                f"CPU {_percent(now['cpu'])} of {_percent(cpus)}{bars}, "
                f"memory {size(now['memory'])} of {size(host['memory'])}",
                "",
            ),
            (
                f"{counted(now['tasks'], 'task')}, disks {_rate(now['io_read'])} read, {_rate(now['io_write'])} written"
                f"{_pressure(host.get('pressure') or {})}",
                "",
            ),
        ]
        head += [(f"not well: {self._queue['unwell']}", "red")] if self._queue["unwell"] else []
        if self._queue["more_wait"]:
            head.append((f"only the newest {len(self._queue['waiting']):,} waiting runs are shown", "yellow"))
        if lasts:
            incidents = f", {counted(self._queue['incidents'], 'incident')}" if self._queue["incidents"] else ""
            not_shown = f"; not shown: {', '.join(hidden)}" if hidden else ""
            waits = "? wait" if self._queue["waiting"] is None else f"{len(self._waiting())} wait"
            counts = f"{len(self._live())} live, {waits}{incidents}, by {self.order}"
            head.append((f"{counts}{f', only {self.filter}' if self.filter else ''}; ?: keys{not_shown}", "dim"))
            head += [(self.note, "yellow")] if self.note else []
        overflow: Any = "ellipsis" if lasts else "fold"
        return [Line(printable(line), colour, no_wrap=lasts, overflow=overflow) for line, colour in head]

    def _name(self, run: Message, width: int) -> str:
        """Return a run's name. On a screen, add the mark, and shorten the name to leave room for the main columns."""
        name = str(run["run"])
        if not width:
            return name
        most = max(_NAME, width - _BESIDE)
        short = name if len(name) <= most else f"{name[: most // 2]}…{name[most // 2 + 1 - most :]}"
        return f"{'>' if name == self.marked else ' '} {short}"

    def _row(self, run: Message, *, lasts: bool, width: int) -> list[Cell]:
        bars = [self._bars(run["run"], run["limits"]["cpu"] or 1)] if lasts else []
        return [self._name(run, width), *usage_cells(run), *bars]

    def _waiting_row(self, run: Message, *, width: int) -> list[Cell]:
        return [self._name(run, width), *waiting_cells(run)]

    def _fits(self, word: str, run: Message) -> bool:
        """Return whether a run matches a filter: ``tag:db``, ``user:alice``, ``state:late``, or a part of its name."""
        key, colon, value = word.partition(":")
        match key if colon else "":
            case "tag":
                return value in run["tags"]
            case "user":
                return value == (run["user"] or self._daemon())
            case "state":
                return run["state"] == value or (value == "late" and bool(run.get("late")))
        return word in run["run"]

    def _bars(self, name: str, full: float) -> str:
        """Return bars for the recent CPU usage, newest on the right.

        A full bar stands for the highest sample, or for `full` if that is higher.
        """
        newest = list(self._cpu[name])[-_BARS_SHOWN:]
        top = max([full, *newest])
        return "".join(_BARS[round(sample / top * (len(_BARS) - 1))] for sample in newest)


def usage_cells(run: Message) -> list[Cell]:
    """Return the cells of a live run, from CPU to start."""
    now, limits, least = run["now"], run["limits"], ">" * run["partial"]
    state = styled(f"{run['state']}, late", "retrying") if run["late"] else styled(run["state"])
    state = StyledText("stopped by a signal", "yellow") if run["stopped"] else state
    memory = _limited(f"{least}{size(now['memory'])}", limits["memory"], size)
    tasks = _limited(f"{least}{now['tasks']}", limits["tasks"], str)
    return [
        _limited(_percent(now["cpu"]), limits["cpu"], _percent),
        memory,
        state,
        _progress(run),
        tasks,
        _rate(now["io_read"]),
        _rate(now["io_write"]),
        duration(run["cpu_seconds"]),
        distance(run["started"]),
    ]


def waiting_cells(run: Message) -> list[Cell]:
    """Return the cells of a waiting run: its state, the time of queueing, and its waits."""
    whom = "?" if run["for"] is None else "; ".join(map(localised, run["for"])) or "-"
    return [styled(run["state"]), distance(run["queued"]), whom]


def _progress(run: Message) -> StyledText:
    """Return a bar of the elapsed share of the job's usual duration: ``━━━━── 63 %``."""
    if not run.get("usual"):
        return StyledText("-")
    part = (time.time() - datetime.fromisoformat(run["started"]).timestamp()) / run["usual"]
    full = round(min(1.0, max(0.0, part)) * _PROGRESS)
    return StyledText(f"{'━' * full}{'─' * (_PROGRESS - full)} {part * 100:.0f} %", "yellow" if part > 1 else "")


def _pressure(pressure: Message) -> str:
    known = [f"{name} {value:.0f} %" for name, value in pressure.items() if value is not None and value >= 0.5]
    return f", pressure {', '.join(known)}" if known else ""


def bar(text: str) -> Line:
    """Return text in the style of the screen's last line."""
    return Line(text, "reverse", no_wrap=True, overflow="ellipsis")


def _limited(text: str, limit: Any, form: Any) -> str:
    return text if limit is None else f"{text} of {form(limit)}"


def _percent(cpus: float) -> str:
    return f"{cpus * 100:.0f} %"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{size(rate)}/s"
