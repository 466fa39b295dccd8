"""The judge of a day: what the jobs wrote down, the records of the hosts, and the keys of etcd, beside the promises."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from tests.fleet.day import Day, unended
from tests.fleet.history import disordered
from tests.fleet.jobs import JOBS, Line
from tests.fleet.people import undone

_OF = {job.name: job for job in JOBS}
BOOTED = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
_WHILE_IT_ENDS = 2.0
"""Seconds in which the end of a run may not have been recorded yet."""


class Violation(NamedTuple):
    """A broken promise: its class, and what it is."""

    verdict: str
    text: str


PROMISED = (
    "doubled", "missed", "overlaps", "fences", "unclaimed", "disordered", "undone", "unrecorded", "held", "unaccounted",
)  # fmt: skip


def violations(day: Day) -> Iterator[Violation]:
    """All promises that were broken."""
    yield from doubled(day.lines)
    yield from (Violation("missed", name) for name in day.missed)
    yield from overlaps(day.lines)
    yield from fences(day.lines)
    yield from unclaimed(day)
    for key, operations in disordered(day.exchanges).items():
        yield Violation("disordered", f"{key}: none of these can come next: {operations}")
    if acts := undone(day.acts, day.exchanges):
        yield Violation("undone", f"none of these can come next: {acts}")
    yield from unrecorded(day)
    yield from (Violation("held", name) for name in unended(day.keys))
    yield from unaccounted(day)


def _occurrence(line: Line) -> tuple[str, datetime, str]:
    """A line's occurrence: one of the fleet is the same on all hosts."""
    return line.job, line.due, "" if _OF[line.job].is_of_fleet else line.host


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
        if line.what == "down":
            holders = {what: other for what, other in holders.items() if other.host != line.host}
            continue
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


def unclaimed(day: Day) -> Iterator[Violation]:
    """Starts of what the fleet has for another host, or for none."""
    for line in day.lines:
        if line.what == "start" and _OF[line.job].is_of_fleet:
            value = day.keys.get(f"/jq/runs/{line.job}/{line.due.timestamp():.0f}/1", "nobody")
            if value.partition(":")[0] != line.host:
                yield Violation("unclaimed", f"{line.run}, due {line.due:%H:%M:%S}, is by etcd that of {value}")


def unrecorded(day: Day) -> Iterator[Violation]:
    """Runs that have begun and have no record of their success, or another number of lines than of records.

    What its host went down with may be lost.
    """
    last = {line.run.rpartition(".")[0]: line for line in day.lines if line.what != "down"}
    records = {f"{host}:{record['run']}": record for host, record in day.records}
    for run, line in last.items():
        state = records[run]["state"] if run in records else "nothing"
        is_killed = state == "lost" or (state == "failed" and records[run]["signal"] == 9)  # a moment before all others
        if state != "succeeded" and not (is_killed and _is_cut_short(day, line)):
            yield Violation("unrecorded", f"{run} has begun, and its record has {state}")
    for run, record in records.items():
        if record["state"] == "succeeded" and run not in last:
            yield Violation("unrecorded", f"{run} has not begun, and its record has {record['state']}")


def unaccounted(day: Day) -> Iterator[Violation]:
    """Another number of occurrences that were due than of those that a host has begun, and that one host has skipped,
    of jobs that may be skipped; with the skips, as runs may lie between those that share a record.
    """
    for job in JOBS:
        records = [(host, record) for host, record in day.records if record.get("job") == job.name and job.skips]
        named = [record.get(name) for _, record in records for name in ("due", "last_due")]
        times = [datetime.fromisoformat(time) for time in named if time]
        skips = [(host, record) for host, record in records if record["state"] == "skipped"]
        begun = {record["due"] for _, record in records if record["state"] != "skipped"}
        due = (max(times) - min(times)).total_seconds() // job.every + 1 if times else 0
        if due != len(begun) + sum(record["count"] for _, record in skips):
            told = [(host, *map(record.get, ("due", "last_due", "count", "reason"))) for host, record in skips]
            yield Violation("unaccounted", f"{job.name}: {due:.0f} were due, {len(begun)} have begun; {told}")


def _is_cut_short(day: Day, last: Line) -> bool:
    """Tell whether a host went down with the run of which this is the last line, or right after it."""
    until = last.up + _WHILE_IT_ENDS if last.what == "end" else float("inf")
    return any(line.what == "down" and line.host == last.host and last.up <= line.up <= until for line in day.lines)


def takeovers(day: Day) -> list[float]:
    """How late (s) others have started what came due while a host was away, of the jobs that need no lock for long."""
    short = {job.name for job in JOBS if job.is_of_fleet and not job.lock and not job.changes}
    starts = ((line, line.due.timestamp() - BOOTED) for line in day.lines if line.what == "start" and line.job in short)
    return sorted(
        line.up - due
        for line, due in starts
        if any(away.begin <= due < away.end and line.host != away.host for away in day.absences)
    )
