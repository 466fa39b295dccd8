"""jobqueuectl top: what live runs and the host use, while one looks."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from jobqueued.config import Paths
from jobqueued.ctl import offline
from jobqueued.ctl.client import Stream, Unreachable
from jobqueued.ctl.terminal import console, distance, json_option, print_json, size, span, styled, table
from jobqueued.model import Now
from jobqueued.monitor import HISTORY, Monitor
from jobqueued.varlink import Message

_BARS = " ▁▂▃▄▅▆▇█"
_BARS_SHOWN = 20
_HEADINGS = ("RUN", "CPU", "MEMORY", "TASKS", "READ", "WRITTEN", "CPU TIME", "STARTED", "STATE", "CPU, LATELY")
_KEYS = "by: (c)pu (m)emory (i)o (t)asks (s)tarted; (q)uit"
_ORDERS = {
    "cpu": lambda run: -run["now"]["cpu"],
    "memory": lambda run: -run["now"]["memory"],
    "io": lambda run: -((run["now"]["io_read"] or 0) + (run["now"]["io_write"] or 0)),
    "tasks": lambda run: -run["now"]["tasks"],
    "started": lambda run: run["started"],
}


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--sort", type=click.Choice(list(_ORDERS)), default="cpu", show_default=True, help="Which run is first.")
@click.option("--once", is_flag=True, help="Print it once, as where stdout is no terminal.")
@json_option
@click.pass_obj
def top(paths: Paths, jobs: tuple[str, ...], sort: str, once: bool, as_json: bool) -> None:
    """Show what live runs use, of JOBs or of all.

    That is CPU (100 % is one), memory, tasks and disks.  Figures are those of the run's cgroup, with the limits that it
    has; where there is none, of its processes.  While nobody looks nothing is measured.  While the daemon is down the
    runs that go on are measured from here.

    \b
    Keys: c m i t s sort by CPU, memory, I/O, tasks or start; q quits.

    \b
    Examples:
      jobqueuectl top --sort memory
      jobqueuectl top --json | jq '.runs[] | {run, cpu: .now.cpu}'
    """
    if as_json or once or not sys.stdout.isatty():
        with contextlib.closing(_source(paths)) as source:
            view = _View(set(jobs), sort)
            frame = view.take(source.frame())
        print_json(frame) if as_json else console().print(view.shown())
    else:
        with contextlib.suppress(KeyboardInterrupt), _keys() as keys:
            _look(paths, _View(set(jobs), sort, console().height), keys)


def _look(paths: Paths, view: _View, keys: int | None) -> None:
    """Until the user has seen enough; from the daemon whenever it is there."""
    source = _source(paths, history=True)
    with Live(console=console(), screen=True, auto_refresh=False) as screen:
        while True:
            ready = _ready([keys, source.descriptor], source.patience)
            if keys in ready and not view.press(os.read(keys, 1)):
                return
            if not ready or source.descriptor in ready:
                try:
                    view.take(source.frame())
                except Unreachable:
                    source = _Files(paths)
                if isinstance(source, _Files):
                    with contextlib.suppress(Unreachable):
                        source = _Daemon(paths, history=True)
            screen.update(view.shown(), refresh=True)


def _ready(descriptors: list[int | None], patience: int | None) -> list[int]:
    """Those that can be read; none after so many milliseconds."""
    poll = select.poll()
    for descriptor in descriptors:
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _bits in poll.poll(patience)]


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """The terminal, which gives each key at once; None: it is none."""
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
    """Frames from the daemon, one a second."""

    patience = None

    def __init__(self, paths: Paths, *, history: bool) -> None:
        self._stream = Stream(paths.control, "Usage", None, history=history)
        self.descriptor: int | None = self._stream.fileno()

    def frame(self) -> Message:
        return self._stream.answer()

    def close(self) -> None:
        self._stream.__exit__()


class _Files:
    """Frames measured here, while the daemon is down."""

    descriptor: int | None = None
    patience = 1000

    def __init__(self, paths: Paths) -> None:
        self._frame: Message | None = None
        self._monitor = Monitor(lambda: offline.processes(paths))
        self._monitor.reply = self._keep
        self._monitor.join(0, False, _now())

    def _keep(self, _ticket: int, value: Message) -> bool:
        self._frame = value
        return True

    def frame(self) -> Message:
        self._frame = None
        while self._frame is None:
            at, now = self._monitor.at, _now()
            if at is not None and not self._monitor.has_more and at > now.mono:
                time.sleep((at - now.mono) / 1e9)
            self._monitor.turn(_now())
        return self._frame

    def close(self) -> None:
        pass


def _source(paths: Paths, *, history: bool = False) -> _Daemon | _Files:
    try:
        return _Daemon(paths, history=history)
    except Unreachable as down:
        offline.say(paths, down)
        return _Files(paths)


def _now() -> Now:
    return Now(time.time_ns(), time.monotonic_ns())


class _View:
    """What is shown of the frames so far.  `height`: lines of the terminal; 0: it is printed once."""

    def __init__(self, jobs: set[str], order: str, height: int = 0) -> None:
        self._jobs, self._order, self._height = jobs, order, height
        self._frame: Message = {}
        self._cpu: dict[str, deque[float]] = {}

    def take(self, frame: Message) -> Message:
        """The newest frame, without what nobody wants to see."""
        runs = [run for run in frame["runs"] if not self._jobs or run["job"] in self._jobs]
        self._frame = {**frame, "runs": sorted(runs, key=_ORDERS[self._order])}
        shown = {"": frame["host"], **{run["run"]: run for run in runs}}
        for name, usage in shown.items():
            known = self._cpu.setdefault(name, deque(maxlen=HISTORY))
            known += [sample["cpu"] for sample in usage["history"] or [usage["now"]]]
        self._cpu = {name: known for name, known in self._cpu.items() if name in shown}
        return self._frame

    def press(self, key: bytes) -> bool:
        """False: that is all."""
        chosen = next((order for order in _ORDERS if order[0].encode() == key), None)
        if chosen is not None and self._frame:
            self._order = chosen
            self._frame["runs"].sort(key=_ORDERS[chosen])
        return key not in (b"q", b"")

    def shown(self) -> RenderableType:
        """For the terminal: as many runs as there is room for."""
        if not self._frame:
            return Text("measuring …")
        head, runs = self._head(), self._frame["runs"]
        room = max(1, self._height - len(head) - 3) if self._height else len(runs)
        rows = [self._row(run) for run in runs[:room]]
        more = [Text(f"and {len(runs) - room} more", "dim")] if len(runs) > room else []
        return Group(*head, Text(), table(_HEADINGS[: len(rows[0])], rows) if rows else Text("No run is live."), *more)

    def _head(self) -> list[Text]:
        host, runs = self._frame["host"], self._frame["runs"]
        now, cpus = host["now"], host["cpus"]
        processor = f"CPU {_percent(now['cpu'])} of {_percent(cpus)}{self._bars('', cpus)}"
        facts = [
            f"{processor}, memory {size(now['memory'])} of {size(host['memory'])}",
            f"{now['tasks']} tasks, disks {_pace(now['io_read'])} read, {_pace(now['io_write'])} written",
        ]
        live = [f"{len(runs)} live, by {self._order}; {_KEYS}"] if self._height else []
        return [*map(Text, facts), *(Text(line, "dim") for line in live)]

    def _row(self, run: Message) -> list[str | Text]:
        now, limits = run["now"], run["limits"]
        state = Text("stopped by a signal", "yellow") if run["stopped"] else styled(run["state"])
        memory, tasks = _of(size(now["memory"]), limits["memory"], size), _of(str(now["tasks"]), limits["tasks"], str)
        return [
            run["run"], _of(_percent(now["cpu"]), limits["cpu"], _percent), memory, tasks, _pace(now["io_read"]),
            _pace(now["io_write"]), span(run["cpu_seconds"]), distance(run["started"]), state,
            *([self._bars(run["run"], limits["cpu"] or 1)] if self._height else []),
        ]  # fmt: skip

    def _bars(self, name: str, full: float) -> str:
        """CPU lately, the newest on the right; a full bar is the highest, or `full` where none is so high."""
        newest = list(self._cpu[name])[-_BARS_SHOWN:] if self._height else []
        top = max([full, *newest])
        return " ".join(["", "".join(_BARS[round(sample / top * (len(_BARS) - 1))] for sample in newest)]).rstrip()


def _of(text: str, limit: Any, form: Any) -> str:
    return text if limit is None else f"{text} of {form(limit)}"


def _percent(cpus: float) -> str:
    return f"{cpus * 100:.0f} %"


def _pace(rate: float | None) -> str:
    return "-" if rate is None else f"{size(rate)}/s"
