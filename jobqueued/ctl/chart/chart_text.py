"""The chart of runs on a terminal: a row for each job, a cell for each period, a letter for each bad end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import groupby

from jobqueued.base.text import duration, printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.base.table import Cell, StyledText
from jobqueued.ctl.base.terminal import styled
from jobqueued.ctl.chart.chart_runs import NONE, STATES, ChartRun, Runs
from jobqueued.ctl.chart.chart_waits import Wait
from jobqueued.model.run_states import PENDING

_NARROWEST, _WIDEST_NAME = 20, 24
_APART = 10
"""Minimum number of cells between two times on the axis."""
_NONE, _WAIT, _ON = " ", "░", "▶"
_BARS = "▁▂▃▄▅▆▇█"
_LETTERS = {
    "failed": "F",
    "timed_out": "T",
    "killed": "K",
    "oom_killed": "O",
    "lost": "L",
    "skipped": "s",
    "retrying": "r",
}
_WORST = [*_LETTERS, "stopping", "running", "starting", "waiting", "due", "succeeded"]
"""States by precedence: a cell shows the first of these that occurs in its period."""
_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200]
_DAY = 86400
_DAYS = [1, 2, 7, 14, 28, 56, 112, 224, 448, 896]


class Window(NamedTuple):
    """A period (ms) divided into cells, and its time zone; None means the local zone."""

    begin: int
    end: int
    cells: int
    zone: tzinfo | None = None

    @property
    def cell(self) -> float:
        """The length of a cell (ms)."""
        return max(1, self.end - self.begin) / self.cells

    def place(self, moment: int) -> int:
        """Return the index of the cell for a moment (ms), or of the nearest cell."""
        return min(self.cells - 1, max(0, int((moment - self.begin) / self.cell)))

    def local(self, moment: float) -> datetime:
        """Return a moment in the zone."""
        return datetime.fromtimestamp(moment / 1000, self.zone).astimezone(self.zone)


def chart(runs: Runs, window: Window, now: int, width: int) -> Iterator[list[Cell]]:
    """Yield the lines of the chart as lists of pieces: the axis, the rows of jobs, and the legend."""
    names = [printable(job) for job in runs.of]
    column = min(max(map(len, names), default=0), _WIDEST_NAME)
    window = window._replace(cells=max(_NARROWEST, width - column - 1))
    for line in _axis(window):
        yield [" " * (column + 1) + line]
    seen = set[str]()
    for job, name in zip(runs.of, names, strict=True):
        row = _JobCells(window, now)
        for run in runs.runs(job):
            key = job, run.number
            row.add(run, zip(runs.pauses.get(key, ()), runs.tries.get(key, ()), strict=True))
        if len(name) > column:
            yield [name]
        yield [f"{name if len(name) <= column else '':{column}} ", *row.pieces()]
        seen |= row.seen
    yield [""]
    yield from _legend(seen, width)


class _JobCells:
    """The cells of a job's row. Each cell has its worst state, how long runs were live, and whether runs waited."""

    def __init__(self, window: Window, now: int) -> None:
        self._window, self._now = window, now
        self._worst = [len(_WORST)] * window.cells
        self._ran, self._waits = [0.0] * window.cells, [False] * window.cells
        self.seen = set[str]()

    def add(self, run: ChartRun, pauses: Iterable[tuple[tuple[int, int], int]]) -> None:
        """Draw a run: its wait, its attempts with their final states, and the pauses between attempts."""
        ended = run.ended if run.ended != NONE else self._now
        if ended < self._window.begin or run.due > self._window.end:
            return
        state, until = STATES[run.state], run.until if run.until != NONE else self._now
        if state in PENDING and run.attempts:
            state = "retrying"  # also while the next attempt waits for a lock
        if state != "skipped":
            self._wait(run.queued, until)
        for (begin, end), before in pauses:
            self._run(until, begin, len(_WORST) - 1)
            self._mark(self._window.place(max(until, begin - 1)), _WORST.index(STATES[before]))
            self._wait(begin, until := end)
        self._run(until, ended, _WORST.index(state if _is_going_on(state) else "succeeded"))
        self._mark(self._window.place(max(until, ended - 1)), _WORST.index(state))
        if state == "retrying":
            self._wait(ended, self._now)

    def _wait(self, begin: int, end: int) -> None:
        for cell in range(self._window.place(begin), self._window.place(end)):
            self._waits[cell] = True

    def _run(self, begin: int, end: int, state: int) -> None:
        """Add the time between two moments to the cells. Each of these cells shows this state or a worse state."""
        place, length = self._window.place, self._window.cell
        for cell in range(place(begin), place(max(begin, end - 1)) + 1):
            first = self._window.begin + cell * length
            self._ran[cell] += max(0, min(end, first + length) - max(begin, first))
            self._mark(cell, state)

    def _mark(self, cell: int, state: int) -> None:
        self._worst[cell] = min(self._worst[cell], state)

    def pieces(self) -> Iterator[StyledText]:
        """Yield the cells as texts; join neighbours with the same style."""
        cells = [self._cell(number) for number in range(self._window.cells)]
        for style, same in groupby(cells, key=lambda cell: cell.style):
            yield StyledText("".join(cell.plain for cell in same), style)

    def _cell(self, number: int) -> StyledText:
        if self._worst[number] == len(_WORST):
            if not self._waits[number]:
                return StyledText(_NONE)
            self.seen.add("waiting")
            return styled(_WAIT, "waiting")
        state = _WORST[self._worst[number]]
        self.seen.add(state)
        share = min(1.0, self._ran[number] / self._window.cell)
        bar = _BARS[round(share * (len(_BARS) - 1))]
        return styled(_LETTERS.get(state) or (_ON if _is_going_on(state) else bar), state)


def _is_going_on(state: str) -> bool:
    return state in ("starting", "running", "stopping", "waiting", "due")


def _legend(seen: set[str], width: int) -> Iterator[list[Cell]]:
    """Yield the legend for the signs in the chart, in as many lines as needed."""
    signs = {**_LETTERS, "running": _ON, "starting": _ON, "stopping": _ON}
    found = [(f"{_BARS[0]} {_BARS[-1]}", "succeeded", "ran, for part or all of the time"), (_WAIT, "waiting", "waits")]
    found = [it for it in found if it[1] in seen]
    found += [(signs[state], state, state) for state in _WORST if state in seen and state in signs]
    line, used = list[Cell](), 0
    for sign, state, meaning in found:
        if line and used + len(sign) + len(meaning) + 1 > width:
            yield line
            line, used = [], 0
        line += [styled(sign, state), f" {meaning}   "]
        used += len(sign) + len(meaning) + 4
    yield line


def _axis(window: Window) -> Iterator[str]:
    """Yield the lines of the axis: dates and times."""
    labels, days = [" "] * window.cells, [" "] * window.cells
    ends = {"labels": 0, "days": 0}
    for tick in _ticks(window):
        cell, is_day = window.place(int(tick.timestamp() * 1000)), (tick.hour, tick.minute, tick.second) == (0, 0, 0)
        time = f"{tick:%H:%M}" if not tick.second else f"{tick:%H:%M:%S}"
        for row, line, text in (("labels", labels, f"|{time}"), ("days", days, f"|{tick:%a %d %b}" if is_day else "")):
            if text and cell >= ends[row] and cell + len(text) <= window.cells:
                line[cell : cell + len(text)] = text
                ends[row] = cell + len(text) + 1
    yield from ("".join(line).rstrip() for line in (days, labels) if "".join(line).strip())


def _ticks(window: Window) -> Iterator[datetime]:
    """Yield round local times that are at least about ten cells apart."""
    least = window.cell * _APART / 1000
    first = window.local(window.begin)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    step = next((step for step in _STEPS if step >= least), None)
    if step is None:
        days = next((days for days in _DAYS if days * _DAY >= least), _DAYS[-1])
        moments: Iterable[datetime] = (midnight + timedelta(days=days * nth) for nth in range(10000))
    else:
        moments = (midnight + timedelta(seconds=step * nth) for nth in range(_DAY * 10000 // step))
    for moment in moments:
        tick = moment.astimezone() if window.zone is None else moment.replace(tzinfo=window.zone)
        instant = tick.timestamp() * 1000
        if instant > window.end:
            return
        if instant >= window.begin:
            yield window.local(instant)  # a time that the clock skips becomes the next valid time


def format_wait(wait: Wait) -> str:
    """Format a wait as a line: ``load@2 waited 3 min 2 s for database, held by dump@7``."""
    took = duration(wait.run.waited / 1000)
    lacked = f" for {', '.join(wait.waited_for)}" if wait.waited_for else ""
    by = f", {'held by' if lacked else 'after'} {wait.holder}" if wait.holder else ""
    return f"{wait.job}@{wait.run.number} waited {took}{lacked}{by}"
