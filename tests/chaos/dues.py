"""Due times: each must have run, or a record that says why not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.evidence import Record
from tests.chaos.jobs import RESULTS, USER, Job
from tests.chaos.timeline import instant
from tests.chaos.verdict import Violation

if TYPE_CHECKING:
    from tests.chaos.checker import Checker

SECOND = 10**9
_NOTICED = 5 * SECOND
"""A mended file is in force after so long at the latest."""


class Covered(NamedTuple):
    """The due times (s) of a job that runs and skips account for: the runs of each, and ranges with a count."""

    single: dict[int, set[str]]
    ranges: list[tuple[int, int, int]]


def lost(checker: Checker) -> Iterator[Violation]:
    """Find due times of clocks, and successes that others wait for, of which no record tells."""
    by_job: dict[str, list[Record]] = defaultdict(list)
    for record in checker.records.values():
        by_job[record["job"]].append(record)
    for job in checker.day.jobs.values():
        if job.is_clocked:
            yield from _of_clock(checker, job, by_job[job.id])
        for upstream in job.keys.get("dependencies", ()) if len(job.keys.get("dependencies", ())) == 1 else ():
            yield from _of_ends(checker, job, by_job[job.id], by_job[upstream])
        if "on" in job.keys:
            yield from _of_ends(checker, job, by_job[job.id], by_job[job.keys["on"]["job"]])


def _covered(checker: Checker, job: Job, records: list[Record]) -> Covered:
    covered = Covered(defaultdict(set), [])
    for record in records:
        if (record.get("count") or 1) > 1:
            first, last = (instant(record[name]) // SECOND for name in ("first_due", "last_due"))
            covered.ranges.append((first, last, record["count"]))
        else:
            covered.single[instant(record["due"]) // SECOND].add(record["run"])
    for attempt, starts in checker.ledger.starts.items():
        for start in starts:
            if start.job == job.id:
                covered.single[instant(start.due) // SECOND].add(attempt.run)
    return covered


def _of_clock(checker: Checker, job: Job, records: list[Record]) -> Iterator[Violation]:
    covered = _covered(checker, job, records)
    expected = _expected(checker, job, records, covered)
    in_ranges = 0
    for due in expected:
        if len(covered.single.get(due, ())) >= _times(checker, job, due):
            continue
        if any(first <= due <= last for first, last, _count in covered.ranges):
            in_ranges += not checker.losses.due(job.id, due * SECOND)
        elif checker.losses.due(job.id, due * SECOND):
            checker.notes["due times that may be lost with state.db, and were"] += 1
        elif _unknown(checker, job, due * SECOND):
            checker.notes["due times while their job was in no file"] += 1
        else:
            yield Violation("lost", f"{job.id}: nothing tells of its due time {due}", job.id, due * SECOND)
    counted = sum(count for _first, _last, count in covered.ranges)
    if counted < in_ranges:
        text = f"{job.id}: {in_ranges} due times are in skips that count {counted}"
        yield Violation("lost", text, job.id, covered.ranges[0][0] * SECOND)
    since = checker.day.morning // SECOND
    checker.notes["due times of clocks"] += sum(due >= since for due in expected)
    checker.notes["due times before the day, to which a clock was set back"] += sum(due < since for due in expected)


def _times(checker: Checker, job: Job, due: int) -> int:
    """How often a due time must have come: each time that the clock showed it, as far as that is sure."""
    return checker.passages.shows(job, due) if checker.passages.is_sure(due) and not checker.timeline.hurts else 1


def _expected(checker: Checker, job: Job, records: list[Record], covered: Covered) -> list[int]:
    """The due times from the morning, or the first that is known, until the evening, or until it had all its runs."""
    evening = checker.day.evening // SECOND
    if job.period is None:
        return [due for due in [instant(job.keys["at"].replace("Z", "+00:00")) // SECOND] if due < evening]
    ran = {run: one[0].due for (run, _), one in checker.ledger.starts.items() if one[0].job == job.id}
    ran |= {one["run"]: one["due"] for one in records if one["state"] != "skipped"}  # lost ones may not have told
    numbers = {record["number"] for record in records}
    unknown = max(numbers, default=0) - len(numbers) if checker.timeline.hurts else 0  # they count as started
    if len(ran) + unknown >= job.keys.get("max_runs", 1 << 62):
        if checker.passages.is_far_back:  # what is due later may have come before
            return []
        evening = max(map(instant, ran.values())) // SECOND
    known = [*covered.single, *(first for first, _last, _count in covered.ranges)]
    morning = _first(job.period, checker.day.morning)
    if not job.id.startswith(f"{USER.pw_name}/"):  # whose file comes later
        known += [morning, *(_first(job.period, span.begin) for span in checker.timeline.quiet)]
    begin = min(known, default=evening)
    if checker.passages.is_far_back and checker.timeline.hurts:
        begin = max(begin, morning)
    return [due for due in range(begin, evening, job.period) if checker.passages.shows(job, due)]


def _first(period: int, begin: int) -> int:
    """The first due time (s) after an instant (ns)."""
    return -(-begin // SECOND // period) * period


def _unknown(checker: Checker, job: Job, at: int) -> bool:
    """Whether its file was away for long, or broken when state.db, with its last good text, was lost."""
    file = checker.day.file_of.get(job.id, "")
    if any(away.begin <= at <= away.end + _NOTICED for away in checker.timeline.away.get(file, ())):
        return True
    for broken in checker.timeline.broken.get(file, ()):
        for hurt in checker.timeline.hurt_spans:
            if hurt.begin <= broken.end and broken.begin <= hurt.end and hurt.begin <= at <= broken.end + _NOTICED:
                return True
    return False


def _of_ends(checker: Checker, job: Job, own: list[Record], upstream: list[Record]) -> Iterator[Violation]:
    keys = {record["key"] for record in own}
    letter, wanted = ("j", RESULTS[job.keys["on"]["result"]]) if "on" in job.keys else ("d", RESULTS["success"])
    spare = sum((record.get("count") or 1) - 1 for record in own) + checker.losses.joined(job.id)
    for record in sorted(upstream, key=lambda record: record["queued"]):
        if record["state"] not in wanted or not record.get("ended"):
            continue
        checker.notes["ends that make others due"] += 1
        ended = instant(record["ended"])
        if f"{letter}{record['run']}" in keys:
            continue
        if checker.losses.key(job.id, f"{letter}{record['run']}", record["run"], ended):
            checker.notes["ends whose dependants may be lost with state.db, and were"] += 1
            continue
        if _unknown(checker, job, ended):
            checker.notes["ends while their dependant was in no file"] += 1
            continue
        if ended + _NOTICED > checker.day.evening:  # by then it may be disabled
            continue
        if spare:
            spare -= 1
            continue
        text = f"{job.id}: nothing tells that it was due at the end of {record['run']}"
        yield Violation("lost", text, record["run"], ended)
