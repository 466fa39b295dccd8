"""When each job was due and when it was started: the rows of the table, and what in them was not expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

from jobqueued.exchange import reckoning
from jobqueued.timing.schedule import Schedule, ScheduleError
from tests.realcron.matrix import CRONIE, DEBIAN, DECLARED, SETTLING, Window

LATE = 40
"""Jobs that are started so many seconds into their minute come from a machine that was too busy."""

MEANT = {(p, t, daemon): d.mark for d in DECLARED for p in d.places for t in d.templates for daemon in d.daemons}
"""The marks of the declared differences, by place, template and daemon."""

UNNOTICED = {(place, daemon) for it in DECLARED if it.mark == "b" for place in it.places for daemon in it.daemons}
"""The changes that a daemon does not notice."""

Starts = list[list[int]]
"""For each expression of a window the faked seconds at which its jobs were started."""


@dataclass(frozen=True, slots=True)
class Row:
    """One expression in one place: the instants at which it was due here, and at which each daemon started it.

    `foretold` are those at which the proof of an import has them start it.
    """

    place: str
    zone: str
    template: str
    expression: str
    refused: bool
    ours: tuple[int, ...]
    theirs: Mapping[str, tuple[int, ...]]
    foretold: Mapping[str, tuple[int, ...]]

    def differs(self, daemon: str) -> bool:
        """Whether a daemon started it at other times than it was due here."""
        return self.ours != self.theirs[daemon]

    def mark(self, daemon: str) -> str:
        """The mark of the declared difference, or nothing."""
        return MEANT.get((self.place, self.template, daemon), "")

    def is_foretold(self, daemon: str) -> bool:
        """Whether the proof of an import knows what a daemon did; of a change that cronie misses it says only that."""
        return (self.place, daemon) in UNNOTICED or self.foretold[daemon] == self.theirs[daemon]

    def surprises(self, daemon: str) -> bool:
        """Whether it differs and should not, or should and does not."""
        return self.differs(daemon) != bool(self.mark(daemon))


def schedule(window: Window, expression: str) -> Schedule | None:
    """Our schedule, or None if we refuse the expression."""
    try:
        return Schedule(expression, window.zone)
    except ScheduleError:
        return None


def due(window: Window, ours: Schedule | None) -> tuple[int, ...]:
    """The seconds of a window at which a job is due here."""
    found: list[int] = []
    instant = ours.after(window.start) if ours else None
    while ours and instant and instant <= window.end:
        found.append(int(instant.timestamp()))
        instant = ours.after(instant)
    return tuple(found)


def foretold(window: Window, expression: str, daemon: str) -> tuple[int, ...]:
    """The seconds of a window at which a daemon starts a job, by the second opinion of imports."""
    ways = {DEBIAN: reckoning.DEBIAN, CRONIE: reckoning.CRONIE}[daemon]
    try:
        starts = reckoning.due_times(expression, window.zone, window.start, ways)
        return tuple(int(at.timestamp()) for at in takewhile(window.end.__ge__, starts))
    except ValueError:
        return ()


def settling(window: Window, second: int) -> bool:
    """Whether it lies in the first minutes after a gap, in which a real cron catches up."""
    return window.gap is not None and 0 <= second - window.gap.timestamp() < SETTLING.total_seconds()


def started(window: Window, seconds: Iterable[int]) -> tuple[int, ...]:
    """The minutes in which a job was started; what is caught up after a gap counts as started at its end."""
    gap = int(window.gap.timestamp()) if window.gap else 0
    end = window.end.timestamp()
    return tuple(sorted(gap if settling(window, s) else s - s % 60 for s in seconds if s <= end))


def flaw(window: Window, starts: Starts) -> str:
    """What shows that a daemon did not keep up with the faked clock; nothing if it did."""
    control = Counter(started(window, starts[0]))
    wanted = [s for s in due(window, schedule(window, window.expressions[0])) if not settling(window, s)]
    missed = [second for second in wanted if control[second] != 1]
    late = [s for seconds in starts for s in seconds if s % 60 > LATE and not settling(window, s)]
    if missed:
        return f"{len(missed)} of {len(wanted)} minutes without exactly one start of `{window.expressions[0]}`"
    return f"{len(late)} jobs started more than {LATE} s late" if late else ""


def rows(window: Window, observed: Mapping[str, Starts]) -> list[Row]:
    """A row for each expression of a window but the control."""
    found = []
    for number, (template, expression) in enumerate(zip(window.templates, window.expressions, strict=True)):
        ours = schedule(window, expression)
        theirs = {daemon: started(window, starts[number]) for daemon, starts in observed.items()}
        told = {daemon: foretold(window, expression, daemon) for daemon in observed}
        found.append(
            Row(window.place, window.zone, template, expression, ours is None, due(window, ours), theirs, told)
        )
    return found[1:]


def doubt(window: Window, daemon: str, starts: Starts) -> str:
    """Why a window should be lived through once more; nothing if all is as expected."""
    found = rows(window, {daemon: starts})
    surprises = [f"`{row.expression}`" for row in found if row.differs(daemon) and not row.mark(daemon)]
    return flaw(window, starts) or (f"not declared: {', '.join(surprises)}" if surprises else "")


def strung(parts: Iterable[Row]) -> list[Row]:
    """String the rows of the same expression in the same place together: those of different days."""
    found: dict[tuple[str, str], Row] = {}
    for part in parts:
        key = part.place, part.template
        if first := found.get(key):
            theirs = {daemon: first.theirs[daemon] + starts for daemon, starts in part.theirs.items()}
            told = {daemon: first.foretold[daemon] + starts for daemon, starts in part.foretold.items()}
            found[key] = replace(first, ours=first.ours + part.ours, theirs=theirs, foretold=told)
        else:
            found[key] = part
    return list(found.values())
