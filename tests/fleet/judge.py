"""The judge of a day: what the jobs wrote down, the records of the hosts, and the keys of etcd, beside the promises."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from tests.fleet.day import Day, unended
from tests.fleet.jobs import JOBS, Line

_OF = {job.name: job for job in JOBS}


class Violation(NamedTuple):
    """A broken promise: its class, and what it is."""

    verdict: str
    text: str


PROMISED = ("doubled", "missed", "overlaps", "fences", "unrecorded", "held")


def violations(day: Day, missed: Iterable[str]) -> Iterator[Violation]:
    """All promises that were broken; `missed`: what was due and has not ended."""
    yield from doubled(day.lines)
    yield from (Violation("missed", name) for name in missed)
    yield from overlaps(day.lines)
    yield from fences(day.lines)
    yield from unrecorded(day)
    yield from (Violation("held", name) for name in unended(day.keys))


def _occurrence(line: Line) -> tuple[str, datetime, str]:
    """A line's occurrence: one of the fleet is the same on all hosts."""
    return line.job, line.due, "" if _OF[line.job].is_of_fleet else line.run.partition(":")[0]


def doubled(lines: Iterable[Line]) -> Iterator[Violation]:
    """Occurrences that were started more than once."""
    starts = defaultdict[tuple[str, datetime, str], list[str]](list)
    for line in lines:
        if line.what == "start":
            starts[_occurrence(line)].append(f"{line.run} at {line.up}")
    for (job, due, _), runs in starts.items():
        if len(runs) > 1:
            yield Violation("doubled", f"{job} {due:%H:%M:%S}: {', '.join(runs)}")


def overlaps(lines: Iterable[Line]) -> Iterator[Violation]:
    """Starts while another run had something that both hold; the order of the lines is that of what happened."""
    holders = dict[str, Line]()
    for line in lines:
        for what in _OF[line.job].held:
            other = holders.get(what)
            if line.what == "end":
                if other is not None and other.run == line.run:
                    del holders[what]
            else:
                if other is not None:
                    yield Violation("overlaps", f"{what}: {line.run} at {line.up}, {other.run} since {other.up}")
                holders[what] = line


def fences(lines: Iterable[Line]) -> Iterator[Violation]:
    """Starts that show no greater number than who had the same before them."""
    last = dict[str, Line]()
    for line in lines:
        for what in _OF[line.job].held if line.what == "start" else ():
            if what in last and line.fence <= last[what].fence:
                text = f"{what}: {line.run} has {line.fence}, {last[what].run} before it {last[what].fence}"
                yield Violation("fences", text)
            last[what] = line


def unrecorded(day: Day) -> Iterator[Violation]:
    """Runs that have begun and have no record of their success, or another number of lines than of records."""
    begun = Counter(line.run.rpartition(".")[0] for line in day.lines if line.what == "start")
    records = {f"{host}:{record['run']}": record for host, record in day.records}
    for run in begun:
        state = records[run]["state"] if run in records else "nothing"
        if state != "succeeded":
            yield Violation("unrecorded", f"{run} has begun, and its record has {state}")
    for run, record in records.items():
        if record["state"] == "succeeded" and run not in begun:
            yield Violation("unrecorded", f"{run} has not begun, and its record has {record['state']}")
