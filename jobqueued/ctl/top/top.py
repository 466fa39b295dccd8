"""jobqueuectl top: show the current usage of live runs and of the host, and the waiting runs; keys act on runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from functools import cache, partial

import click
from rich.console import ConsoleDimensions
from rich.live import Live

from jobqueued.control.protocol.varlink import Message
from jobqueued.ctl.base import completion
from jobqueued.ctl.base.client import DaemonUnreachable, ReplyStream, ask, own_only, warn_of_own_only
from jobqueued.ctl.base.terminal import json_option, print_json, rich_console
from jobqueued.ctl.past import offline
from jobqueued.ctl.top.top_screen import Screen, queue
from jobqueued.ctl.top.top_view import HIDDEN, ORDERS, UNKNOWN, TopView
from jobqueued.model.job import Now
from jobqueued.settings.paths import Paths

_STDOUT = 1
_SHARE = 20
"""Minimum pause between two requests for the queue, as a multiple of the last request's duration."""
_KEYS = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\b": "backspace",
}
_KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])?|.", re.DOTALL)


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=completion.jobs)
@click.option(
    "--sort", type=click.Choice(list(ORDERS)), default="cpu", show_default=True, help="Sort runs by this figure."
)
@click.option(
    "--once", is_flag=True, help="Print the figures once and exit.  This is the default if stdout is not a terminal."
)
@json_option
@click.pass_obj
def top(paths: Paths, jobs: tuple[str, ...], sort: str, once: bool, as_json: bool) -> None:
    """Show what live runs use and which runs wait.

    For each live run of the JOBs, or of all jobs, the command shows CPU (100 % is one core), memory, tasks and disk
    I/O, with the run's limits.  A run's progress assumes that the run takes as long as its job usually does.  Usage is
    measured in the run's cgroup.  For a run without a cgroup, at most 2,000 of its processes are measured; > marks a
    run that has more.  The waiting runs are listed below, with the runs that they wait for.  While the daemon is down,
    jobqueuectl measures the live runs itself.

    On a terminal, the arrow keys mark a run.  Enter follows its output, w explains why it waits, x stops it, r runs its
    job again and p pauses its job.  / filters by name, tag:db, user:alice or state:running.  c, m, i, t and s sort by
    CPU, memory, I/O, tasks and start.  n lists incidents, ? lists all keys and q quits.

    \b
    Examples:
      jobqueuectl top --sort memory
      jobqueuectl top --json | jq '.runs[] | {run, cpu: .now.cpu}'
    """
    view, look = TopView(jobs, sort, cache(partial(_user_of_daemon, paths))), partial(queue, paths, frozenset(jobs))
    _require(paths, jobs)
    if as_json or once or not sys.stdout.isatty() or rich_console().is_dumb_terminal:
        with contextlib.closing(_source(paths)) as source:
            frame = view.take(source.frame(), source.note)
            if isinstance(source, _Daemon):
                warn_of_own_only(paths.control)
            waits = view.take_queue(look() if isinstance(source, _Daemon) else UNKNOWN)
        print_json({**frame, **waits}) if as_json else rich_console().print(view.shown())
    else:
        with contextlib.suppress(KeyboardInterrupt), _keys() as keys:
            _refresh(paths, view, look, keys)


def _user_of_daemon(paths: Paths) -> str:
    """Return the name of the daemon's user, who owns the daemon's directories, for filters."""
    from jobqueued.child.contract.trust import name_of
    from jobqueued.ctl.files.job_units import user_of_daemon

    return name_of(user_of_daemon(paths))


def _require(paths: Paths, jobs: tuple[str, ...]) -> None:
    """Raise CallRefused if the caller can see neither a job nor any of its runs."""
    with contextlib.suppress(DaemonUnreachable):
        for job in jobs:
            ask(paths.control, "History", job=job, states=None, limit=1)


def _refresh(paths: Paths, view: TopView, waits: Callable[[], Message], keys: int | None) -> None:
    """Show frames until the user quits. Frames come from the daemon while it answers, else from this program."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the terminal is restored
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # its default action would not restore the terminal
    source, screen, look = _source(paths, lasts=True), Screen(paths, view), 0.0
    with Live(console=rich_console(), screen=True, auto_refresh=False) as live:
        while True:
            ready = _ready([keys, source.descriptor], source.longest_wait)
            if keys in ready and not all(map(screen.press, _pressed(keys))):
                return
            if source.descriptor in ready or (source.descriptor is None and not ready):
                try:
                    view.take(source.frame(), source.note)
                    look = _look(view, waits, screen, look) if isinstance(source, _Daemon) else 0.0
                except DaemonUnreachable:
                    source = _Local(paths)
                if isinstance(source, _Local):
                    view.take_queue(UNKNOWN)
                    with contextlib.suppress(DaemonUnreachable):
                        source = _Daemon(paths, lasts=True)
            elif not ready:
                view.note = "the daemon does not answer; these are its last figures"
            width, height = os.get_terminal_size(_STDOUT)  # $COLUMNS and $LINES may be outdated
            width, height = width or 80, height or 24  # a serial console reports 0
            live.console.size = ConsoleDimensions(width, height)
            live.update(screen.shown(width, height), refresh=True)


def _look(view: TopView, waits: Callable[[], Message], screen: Screen, at: float) -> float:
    """Refresh the open page, and fetch the queue if due. Return the time of the next fetch (CLOCK_MONOTONIC, s)."""
    begin = time.monotonic()
    screen.refresh()
    if begin < at:
        return at
    with contextlib.suppress(click.ClickException):  # without permission, top shows no queue
        view.take_queue(waits())
    return begin + _SHARE * (time.monotonic() - begin)


def _pressed(keys: int | None) -> list[str]:
    """Return the pressed keys, or [""] if the terminal was closed."""
    data = os.read(keys, 256) if keys is not None else b""
    return [_KEYS.get(key, key) for key in _KEY.findall(data.decode(errors="replace"))] or [""]


def _ready(descriptors: list[int | None], longest_wait: int) -> list[int]:
    """Wait at most `longest_wait` milliseconds until a descriptor is readable. Return the readable descriptors."""
    poll = select.poll()
    for descriptor in descriptors:
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _bits in poll.poll(longest_wait)]


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """Make the terminal deliver each key at once, without Enter. Yield None if stdin is not a terminal."""
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
    """Frames from the daemon, one per second. With `lasts`, the first frame also has the history."""

    longest_wait = 5000

    def __init__(self, paths: Paths, *, lasts: bool) -> None:
        self._stream = ReplyStream(paths.control, "Usage", history=lasts)
        self.descriptor: int | None = self._stream.fileno()
        self.note = own_only(paths.control)

    def frame(self) -> Message:
        return self._stream.answer()

    def close(self) -> None:
        self._stream.__exit__()


class _Local:
    """Frames that this program measures while the daemon is down."""

    descriptor: int | None = None
    longest_wait = 1000

    def __init__(self, paths: Paths) -> None:
        from jobqueued.control.calls.monitor import Monitor
        from jobqueued.runs.run_directory import RunDirectory

        self.note = HIDDEN if offline.is_hidden(paths.runs) else "measured here"
        self._frame = ""
        self._monitor = Monitor(lambda: offline.processes(paths), RunDirectory(paths.runs, paths.logs), self._keep)
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
    except DaemonUnreachable as down:
        offline.explain(paths, down)
        return _Local(paths)


def _now() -> Now:
    return Now(time.time_ns(), time.monotonic_ns())
