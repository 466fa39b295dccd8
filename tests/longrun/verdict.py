"""Flat or not: each figure has a bound for its growth, from the first third of a life to its last, by their medians."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from jobqueued.child.launcher import ASKING


@dataclass
class Sample:
    """Figures by name; `runs` and `seconds` since the begin, the lives of `scheduler` and `launcher` by their pids.

    `rest`: nothing runs, and nobody is connected.
    """

    runs: int
    seconds: float
    scheduler: int
    launcher: int
    rest: bool
    figures: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


MOST_LIVE = 64
"""The runs that may be live at a time."""


class Figure(NamedTuple):
    """A figure, by how much it may grow, and the life in which it is looked at; `rest`: only while nothing runs.
    `most`: what it may be at any time.
    """

    name: str
    growth: float
    life: str = ""
    rest: bool = False
    most: float = float("inf")


_OF_MEMORY, _OF_FORKS, _ANY = 2048, 6144, float("inf")
"""Launcher and supervisors share pages until one of them writes there: in its first hundred runs each gets its own."""
FIGURES = (
    Figure("scheduler PSS KiB", _OF_MEMORY, "scheduler"),
    Figure("scheduler private KiB", _OF_MEMORY, "scheduler"),
    Figure("scheduler descriptors", 0, "scheduler", rest=True),
    Figure("scheduler threads", 0, "scheduler"),
    Figure("launcher PSS KiB", _ANY, "launcher", most=_OF_FORKS),
    Figure("launcher private KiB", _ANY, "launcher", most=_OF_FORKS),
    Figure("launcher descriptors", 0, "launcher", rest=True),
    Figure("launcher threads", 0, "launcher"),
    Figure("supervisors", _ANY, "launcher", rest=True, most=MOST_LIVE + ASKING),
    Figure("supervisor PSS KiB", _ANY, "launcher", most=_OF_FORKS),
    Figure("supervisor private KiB", _ANY, "launcher", most=_OF_FORKS),
    Figure("supervisor descriptors", 0, "launcher", rest=True),
    Figure("supervisor threads", 0, "launcher"),
    Figure("other processes", 0, rest=True),
    Figure("entries in run", 0, rest=True),
    Figure("files in state", 0),
    Figure("records", _ANY),
    Figure("outputs", _ANY),
    Figure("log directories", _ANY),
    Figure("records beyond retention", 0, most=0),
    Figure("directories beyond retention", 0, most=0),
    Figure("other files in logs", 0, rest=True),
    Figure("state.db KiB", _ANY),
    Figure("state.db KiB a record", 1, most=8),
    Figure("state.db-wal KiB", 8192, most=32 * 1024),
    Figure("log bytes a run", 500),
    Figure("scheduler CPU ms a run", 0.5, "scheduler"),
    Figure("launcher CPU ms a run", 0.2, "launcher"),
    Figure("turn p99 ms", 200, "scheduler"),
)
"""How many files and rows there are goes with the rate of the last minutes: so what is beyond that has the bound.
Turns are as long as other programs let them be; CPU time is ours.
"""


class Row(NamedTuple):
    """The verdict on one figure: its medians in the first and the last third, its highest, and what is allowed."""

    name: str
    first: float
    last: float
    most: float
    allowed: float
    bound: float

    @property
    def grows(self) -> bool:
        """Whether it has grown by more than it may, or beyond its bound."""
        return self.last - self.first > self.allowed or self.most > self.bound


class TooShort(Exception):
    """There are not samples enough of a figure to judge it."""


def judge(samples: Sequence[Sample], begin: int, figures: Sequence[Figure] = FIGURES) -> list[Row]:
    """The verdict on each figure, by what was seen from `begin` runs on; TooShort."""
    return [_judged(figure, [sample for sample in samples if sample.runs >= begin]) for figure in figures]


def _judged(figure: Figure, samples: Sequence[Sample]) -> Row:
    found = [sample for sample in samples if sample.rest == figure.rest and figure.name in sample.figures]
    if figure.life:
        lives = Counter[int](getattr(sample, figure.life) for sample in found)
        longest = max(lives, key=lambda pid: lives[pid], default=0)
        found = [sample for sample in found if getattr(sample, figure.life) == longest]
    values = [sample.figures[figure.name] for sample in found]
    if len(values) < 3:
        raise TooShort(f"{figure.name}: {len(values)} samples")
    third = len(values) // 3
    first, last = statistics.median(values[:third]), statistics.median(values[-third:])
    return Row(figure.name, first, last, max(values), figure.growth, figure.most)


def table(rows: Sequence[Row], *, markdown: bool) -> str:
    """The rows for people, as text or as Markdown."""
    head = ("figure", "first third", "last third", "highest", "growth", "allowed", "bound", "verdict")
    lines = [
        (row.name, _number(row.first), _number(row.last), _number(row.most), _number(row.last - row.first),
         _number(row.allowed), _number(row.bound), _verdict(row))
        for row in rows
    ]  # fmt: skip
    if markdown:
        rule = ("---", *["---:"] * 6, "---")
        return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines)) + "\n"
    widths = [max(len(line[place]) for line in (head, *lines)) for place in range(len(head))]
    told = [
        "  ".join(
            [line[0].ljust(widths[0]), *(w.rjust(n) for w, n in zip(line[1:-1], widths[1:-1], strict=True)), line[-1]]
        )
        for line in (head, *lines)
    ]
    return "\n".join(told) + "\n"


def _verdict(row: Row) -> str:
    if row.grows:
        return "GROWS"
    return "not judged" if row.allowed == row.bound == _ANY else "flat"


def _number(value: float) -> str:
    if value == _ANY:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def quantile(buckets: Mapping[float, float], level: float) -> float:
    """The quantile of a histogram whose buckets hold all below their bound, between bounds by a straight line."""
    total, lower, below = max(buckets.values()), 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= level * total:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (level * total - below) / (count - below)
        lower, below = bound, count
    return lower
