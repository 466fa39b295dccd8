"""The jobs that each fleet has, the ledger to which they write, and what was due in it beside what was started."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

_COMMAND = """\
read -r host </proc/sys/kernel/hostname
say() {{ read -r up _ </proc/uptime; echo "$1 {name} ${{JOBQUEUE_DUE:--}} $host:$$ $up" >>{book}; }}
trap 'say end; exit 1' TERM
say start; sleep {lasts}; say end
"""
MINUTE = 60.0
"""Each job is due once in it, so that a start tells by its time what it is the start of."""
_EARLY = 0.05
"""Seconds by which a start may seem to come before it is due, as /proc/uptime has hundredths."""


class Job(NamedTuple):
    """A job that is due at this second of each minute, and lasts so many seconds."""

    name: str
    second: int
    lasts: float

    def command(self, book: str) -> str:
        """What it runs, for a shell."""
        return _COMMAND.format(name=self.name, book=shlex.quote(book), lasts=self.lasts)

    def dues(self, begin: float, end: float) -> Iterator[float]:
        """The instants after `begin` at which it is due, and at `end` at the latest."""
        due = begin - (begin - self.second) % MINUTE
        while (due := due + MINUTE) <= end:
            yield due

    def due_of(self, start: float) -> float:
        """The last instant before a start at which it was due."""
        return start + _EARLY - (start + _EARLY - self.second) % MINUTE


JOBS = (
    *(Job(f"minute{number:02}", 0, 0.5) for number in range(20)),
    *(Job(f"second{second:02}{twin}", second, 0.5) for second in range(5, 60, 5) for twin in "ab"),
    *(Job(f"long{second}", second, 50) for second in (12, 32, 52)),
)
"""20 at once, two more each 5 seconds, and three that last nearly until they are due again."""


class Line(NamedTuple):
    """A line of the ledger; `what` is "start", "end", or "down": of that host nothing lives any more.

    `due`: as the job was told, None if it was not; `run`: HOST:PROCESS; `at`: seconds since 1970.
    """

    what: str
    job: str
    due: float | None
    run: str
    at: float

    @property
    def host(self) -> str:
        """Where it was written."""
        return self.run.partition(":")[0]


def read(text: str, booted: float) -> list[Line]:
    """All lines of a ledger; `booted`: when this machine was, as they count from there."""
    words = (line.split()[:5] for line in text.splitlines())
    return [
        Line(what, job, None if due == "-" else datetime.fromisoformat(due).timestamp(), run, float(up) + booted)
        for what, job, due, run, up in words
    ]


class Figures(NamedTuple):
    """What a ledger tells; `again`, `never`: the instants of the occurrences, `never` is not within a minute."""

    due: int
    once: int
    again: list[float]
    never: list[float]
    late: list[float]
    """Seconds, of the first start of each occurrence, in order."""
    overlaps: int
    """Starts of a job while another run of it went on."""


def counted(lines: Sequence[Line], jobs: Iterable[Job], begin: float, end: float) -> Figures:
    """What became of all that was due after `begin`, and at `end` at the latest."""
    of = {job.name: job for job in jobs}
    starts = defaultdict[tuple[str, float], list[float]](list)
    for line in lines:
        if line.what == "start":
            due = of[line.job].due_of(line.at) if line.due is None else line.due
            starts[line.job, round(due)].append(line.at - due)
    found = [(due, sorted(starts[job.name, round(due)])) for job in of.values() for due in job.dues(begin, end)]
    late = sorted(each[0] for _, each in found if each)
    again = [due for due, each in found if len(each) > 1]
    never = [due for due, each in found if not each or each[0] > MINUTE]
    once = sum(len(each) == 1 and each[0] <= MINUTE for _, each in found)
    return Figures(len(found), once, again, never, late, overlaps(lines))


def overlaps(lines: Iterable[Line]) -> int:
    """How many starts came while another run of the job went on, in the order of the lines.

    A run ends with its host.  One that has left no end otherwise is forgotten at the next start of its job.
    """
    live = defaultdict[str, dict[str, Line]](dict)
    found = 0
    for line in lines:
        if line.what == "down":
            live.update({job: {run: it for run, it in runs.items() if it.host != line.host}
                         for job, runs in live.items()})  # fmt: skip
        elif line.what == "end":
            live[line.job].pop(line.run, None)
        else:
            found += bool(live[line.job])
            live[line.job] = {line.run: line}
    return found
