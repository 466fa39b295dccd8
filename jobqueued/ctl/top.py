"""jobqueuectl top: the present usage of live runs and of the host."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from typing import Any

import click
from rich.console import ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.text import Text as Line

from jobqueued.control.monitor import HISTORY, Monitor
from jobqueued.control.varlink import Message
from jobqueued.ctl import completion, offline
from jobqueued.ctl.client import Stream, Unreachable
from jobqueued.ctl.table import Cell, Text
from jobqueued.ctl.terminal import distance, json_option, print_json, rich_console, room, styled, table
from jobqueued.model import Now
from jobqueued.paths import Paths
from jobqueued.runs.run_directory import RunDirectory
from jobqueued.text import counted, duration, size

_BARS = " ▁▂▃▄▅▆▇█"
_BARS_SHOWN = 20
_STDOUT = 1
_HIDDEN = "no permission to see live runs"
_HEADINGS = ("RUN", "CPU", "MEMORY", "TASKS", "READ", "WRITTEN", "CPU TIME", "STARTED", "STATE", "RECENT CPU")
_KEYS = "sort by (c)pu (m)emory (i)o (t)asks (s)tarted; (q)uit"
_ORDERS = {
    "cpu": lambda run: -run["now"]["cpu"],
    "memory": lambda run: -run["now"]["memory"],
    "io": lambda run: -((run["now"]["io_read"] or 0) + (run["now"]["io_write"] or 0)),
    "tasks": lambda run: -run["now"]["tasks"],
    "started": lambda run: run["started"],
}


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=completion.jobs)
@click.option("--sort", type=click.Choice(list(_ORDERS)), default="cpu", show_default=True, help="Sort runs by this.")
@click.option("--once", is_flag=True, help="Print once and exit, as when stdout is not a terminal.")
@json_option
@click.pass_obj
def top(paths: Paths, jobs: tuple[str, ...], sort: str, once: bool, as_json: bool) -> None:
    """Show what live runs use, of the JOBs or of all.

    Shows CPU (100 % is one core), memory, tasks and disk I/O, beside the limits of each run.  They are counted by the
    run's cgroup, or by its processes if it has none, of which 2,000 at most; > says that there are more.  While the
    daemon is down, jobqueuectl measures by itself.

    The keys c, m, i, t and s sort by CPU, memory, I/O, tasks and start; q quits.

    \b
    Examples:
      jobqueuectl top --sort memory
      jobqueuectl top --json | jq '.runs[] | {run, cpu: .now.cpu}'
    """
    view = _View(set(jobs), sort)
    if as_json or once or not sys.stdout.isatty() or rich_console().is_dumb_terminal:
        with contextlib.closing(_source(paths)) as source:
            frame = view.take(source.frame(), source.note)
        print_json(frame) if as_json else rich_console().print(view.shown())
    else:
        with contextlib.suppress(KeyboardInterrupt), _keys() as keys:
            _refresh(paths, view, keys)


def _refresh(paths: Paths, view: _View, keys: int | None) -> None:
    """Show frame after frame until the user quits; from the daemon whenever it answers."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the terminal is restored
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # which would not restore it
    source = _source(paths, lasts=True)
    with Live(console=rich_console(), screen=True, auto_refresh=False) as screen:
        while True:
            ready = _ready([keys, source.descriptor], source.patience)
            if keys in ready and not view.press(os.read(keys, 1)):
                return
            if source.descriptor in ready or (source.descriptor is None and not ready):
                try:
                    view.take(source.frame(), source.note)
                except Unreachable:
                    source = _Local(paths)
                if isinstance(source, _Local):
                    with contextlib.suppress(Unreachable):
                        source = _Daemon(paths, lasts=True)
            elif not ready:
                view.note = "the daemon does not answer; these are its last figures"
            width, height = os.get_terminal_size(_STDOUT)  # $COLUMNS and $LINES may be outdated
            width, height = width or 80, height or 24  # a serial console reports 0
            screen.console.size = ConsoleDimensions(width, height)
            screen.update(view.shown(width, height), refresh=True)


def _ready(descriptors: list[int | None], patience: int) -> list[int]:
    """Wait until some can be read, at most so many milliseconds; those that can."""
    poll = select.poll()
    for descriptor in descriptors:
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _bits in poll.poll(patience)]


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Let the terminal pass on each key at once, without Enter; None: stdin is not a terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class _Daemon:
    """Frames from the daemon, one a second, with what was seen before if they last."""

    note = ""
    patience = 5000

    def __init__(self, paths: Paths, *, lasts: bool) -> None:
        self._stream = Stream(paths.control, "Usage", history=lasts)
        self.descriptor: int | None = self._stream.fileno()

    def frame(self) -> Message:
        return self._stream.answer()

    def close(self) -> None:
        self._stream.__exit__()


class _Local:
    """Frames measured by this program, while the daemon is down."""

    descriptor: int | None = None
    patience = 1000

    def __init__(self, paths: Paths) -> None:
        self.note = f"the daemon is not reachable; {_HIDDEN if offline.is_hidden(paths.runs) else 'measured here'}"
        self._frame = ""
        self._monitor = Monitor(lambda: offline.processes(paths), RunDirectory(paths.runs, paths.logs))
        self._monitor.reply = self._keep
        self._monitor.join(0, False, _now())

    def _keep(self, _ticket: int, text: str) -> bool:
        self._frame = text
        return True

    def frame(self) -> Message:
        self._frame = ""
        while not self._frame:
            at, now = self._monitor.at, _now()
            if at is not None and not self._monitor.has_more and at > now.mono:
                time.sleep((at - now.mono) / 1e9)
            self._monitor.turn(_now())
        frame: Message = json.loads(self._frame)
        return frame

    def close(self) -> None:
        pass


def _source(paths: Paths, *, lasts: bool = False) -> _Daemon | _Local:
    try:
        return _Daemon(paths, lasts=lasts)
    except Unreachable as down:
        offline.explain(paths, down)
        return _Local(paths)


def _now() -> Now:
    return Now(time.time_ns(), time.monotonic_ns())


class _View:
    """The screen, made of the frames so far.  `note`: a remark shown above them."""

    def __init__(self, jobs: set[str], order: str) -> None:
        self._jobs, self._order = jobs, order
        self.note = ""
        self._frame: Message = {}
        self._cpu: dict[str, deque[float]] = {}

    def take(self, frame: Message, note: str = "") -> Message:
        """Take over the newest frame; the part of it that is shown."""
        runs = [run for run in frame["runs"] if not self._jobs or run["job"] in self._jobs]
        self._frame, self.note = {**frame, "runs": sorted(runs, key=_ORDERS[self._order])}, note
        shown = {"": frame["host"], **{run["run"]: run for run in runs}}
        for name, usage in shown.items():
            known = self._cpu.setdefault(name, deque(maxlen=HISTORY))
            known += [sample["cpu"] for sample in usage["history"] or [usage["now"]]]
        self._cpu = {name: known for name, known in self._cpu.items() if name in shown}
        return self._frame

    def press(self, key: bytes) -> bool:
        """Obey a key; False: quit."""
        chosen = next((order for order in _ORDERS if order[0].encode() == key), None)
        if chosen is not None and self._frame:
            self._order = chosen
            self._frame["runs"].sort(key=_ORDERS[chosen])
        return key not in (b"q", b"")

    def shown(self, width: int = 0, height: int = 0) -> RenderableType:
        """The screen for a terminal of that size, with as many runs as fit; 0: all runs, printed once."""
        if not self._frame:
            return Line(self.note or "measuring …")
        head, runs = self._head(lasts=height > 0), self._frame["runs"]
        room = max(1, height - len(head) - 3) if height else len(runs)
        rows = [self._row(run, lasts=height > 0) for run in runs[:room]]
        more = [Line(f"and {len(runs) - room} more", "dim")] if len(runs) > room else []
        found = self._table(rows, width) if rows else [Line(self._nothing())]
        return Group(*head, Line(), *found, *more)

    def _table(self, rows: list[list[Cell]], width: int) -> list[Line]:
        found = table(_HEADINGS[: len(rows[0])], rows, (), width or room())
        return [Line.from_ansi(line, no_wrap=True) for line in found.lines()]

    def _nothing(self) -> str:
        if _HIDDEN in self.note:
            return f"{_HIDDEN.capitalize()}."
        return f"No run of {' or '.join(sorted(self._jobs))} is live." if self._jobs else "No run is live."

    def _head(self, *, lasts: bool) -> list[Line]:
        host, runs = self._frame["host"], self._frame["runs"]
        now, cpus = host["now"], host["cpus"]
        lines = [
            f"CPU {_percent(now['cpu'])} of {_percent(cpus)}{' ' * lasts}{self._bars('', cpus) if lasts else ''}, "
            f"memory {size(now['memory'])} of {size(host['memory'])}",
            f"{counted(now['tasks'], 'task')}, disks {_rate(now['io_read'])} read, {_rate(now['io_write'])} written",
        ]
        keys = [(f"{len(runs)} live, by {self._order}; {_KEYS}", "dim")] if lasts else []
        note = [(self.note, "yellow")] if self.note and lasts else []
        head = [(line, "") for line in lines] + keys + note
        return [Line(line, colour, no_wrap=lasts, overflow="ellipsis" if lasts else "fold") for line, colour in head]

    def _row(self, run: Message, *, lasts: bool) -> list[Cell]:
        now, limits = run["now"], run["limits"]
        state = styled(f"{run['state']}, late", "retrying") if run["late"] else styled(run["state"])
        state = Text("stopped by a signal", "yellow") if run["stopped"] else state
        least = ">" * run["partial"]
        memory, tasks = (
            _limited(f"{least}{size(now['memory'])}", limits["memory"], size),
            _limited(f"{least}{now['tasks']}", limits["tasks"], str),
        )
        return [
            run["run"], _limited(_percent(now["cpu"]), limits["cpu"], _percent), memory, tasks, _rate(now["io_read"]),
            _rate(now["io_write"]), duration(run["cpu_seconds"]), distance(run["started"]), state,
            *([self._bars(run["run"], limits["cpu"] or 1)] if lasts else []),
        ]  # fmt: skip

    def _bars(self, name: str, full: float) -> str:
        """Recent CPU, the newest on the right; a full bar is the highest sample, or `full` if all are lower."""
        newest = list(self._cpu[name])[-_BARS_SHOWN:]
        top = max([full, *newest])
        return "".join(_BARS[round(sample / top * (len(_BARS) - 1))] for sample in newest)


def _limited(text: str, limit: Any, form: Any) -> str:
    return text if limit is None else f"{text} of {form(limit)}"


def _percent(cpus: float) -> str:
    return f"{cpus * 100:.0f} %"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{size(rate)}/s"
