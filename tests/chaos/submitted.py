"""Submissions: what was answered runs once, by a key once, after what it awaits; what is held back does not start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.chaos.ledger import GRAIN
from tests.chaos.people import Submitted
from tests.chaos.timeline import clock, instant
from tests.chaos.verdict import Violation

if TYPE_CHECKING:
    from tests.chaos.checker import Checker

_SECOND = 10**9


def broken(checker: Checker) -> Iterator[Violation]:
    """Find submissions that were lost, doubled, or too early, and starts of what was held back."""
    runs = defaultdict[str, set[int]](set)
    for run in checker.records.keys() | {attempt.run for attempt in checker.ledger.starts}:
        job, _, number = run.rpartition("@")
        runs[job].add(int(number))
    for submitted in checker.day.people.submitted.values():
        checker.notes["submissions"] += 1
        checker.notes["runs of submissions"] += submitted.runs
        yield from _lost(checker, submitted, runs[submitted.job])
    yield from _doubled(checker)
    yield from _too_early(checker)
    yield from _held(checker)


def _lost(checker: Checker, submitted: Submitted, found: set[int]) -> Iterator[Violation]:
    spare = sum((checker.records[f"{submitted.job}@{number}"].get("count") or 1) - 1 for number in found
                if f"{submitted.job}@{number}" in checker.records)  # fmt: skip
    missing = sorted(set(range(1, submitted.runs + 1)) - found)
    if len(missing) > spare and checker.losses.submission(submitted.job, submitted.at):
        checker.notes["submissions that may be lost with state.db, and were"] += 1
    elif len(missing) > spare:
        text = f"{submitted.job} was taken, and nothing tells of its runs {missing}"
        yield Violation("lost", text, f"{submitted.job}@{missing[0]}", submitted.at)
    for run, index in checker.ledger.indexes[submitted.job]:
        if submitted.runs > 1 and index != run.rpartition("@")[2]:
            yield Violation("wrong", f"{run} was given index {index}", run, submitted.at)
    if found and max(found) > submitted.runs:
        text = f"{submitted.job} has {submitted.runs} runs, and number {max(found)} is one of them"
        yield Violation("doubled", text, f"{submitted.job}@{max(found)}", submitted.at)


def _doubled(checker: Checker) -> Iterator[Violation]:
    """What was asked for by one key is one job, whoever died in between, as long as state.db is there."""
    for word, asked_for in checker.ledger.asked.items():
        jobs = asked_for - checker.evidence.unsaved
        if word == "-" or len(jobs) < 2:
            continue
        if len(_remembered(checker, jobs)) < 2:
            checker.notes["keys that may be forgotten with state.db, and were"] += 1
        else:
            yield Violation(
                "doubled", f"{word} was asked for by its key, and ran as {' and '.join(sorted(jobs))}", "", 0
            )
    for key, answers in checker.day.people.answers.items():
        checker.notes["answers to keys that were known"] += len(answers) - 1
        jobs = _remembered(checker, {job for _at, job in answers})
        if len(jobs) > 1:
            yield Violation("doubled", f"{key} was answered with {' and '.join(sorted(jobs))}", "", answers[-1][0])


def _remembered(checker: Checker, jobs: set[str]) -> set[str]:
    """Those of some submissions whose key state.db can't have forgotten."""
    submitted = checker.day.people.submitted
    return {job for job in jobs if not checker.losses.asked(job, submitted[job].at if job in submitted else 0)}


def _too_early(checker: Checker) -> Iterator[Violation]:
    ends = {attempt.run: ends[-1] for attempt, ends in sorted(checker.ledger.ends.items())}
    for attempt, starts in checker.ledger.starts.items():
        submitted = checker.day.people.submitted.get(starts[0].job)
        for after in submitted.after if submitted else ():
            job, any_end = after.removeprefix("any:"), after.startswith("any:")
            checker.notes["starts that waited for a submission"] += 1
            for number in range(1, checker.day.people.submitted[job].runs + 1):
                run = f"{job}@{number}"
                if checker.losses.record(run):
                    continue
                end, state = ends.get(run), checker.records.get(run, {}).get("state")
                if end is not None and end.at > starts[0].at + GRAIN:
                    yield Violation(
                        "order", f"{attempt} began before the end of {run}", attempt.run, starts[0].at, (run,)
                    )
                elif not any_end and state is not None and (end is None or end.code):
                    yield Violation(
                        "order", f"{attempt} began, and {run} is {state}", attempt.run, starts[0].at, (run,)
                    )


_LATELY = 15 * _SECOND
"""A clock that was set back so lately may tell a due time twice: more than it is set back, with a busy start."""


def _held(checker: Checker) -> Iterator[Violation]:
    """What came due while the host was held, or its job paused, did not start meanwhile."""
    told = checker.day.strain.told
    for held in checker.day.people.held:
        checker.notes["times that the host or a job was held"] += 1
        first, last = told(held.span.begin), told(held.span.end)
        before = held.span.begin - _LATELY
        if last - told(before) != held.span.end - before:  # the clock was set: what was due then had come before
            continue
        if any(hurt.begin <= held.span.end and hurt.end >= held.span.begin for hurt in checker.timeline.hurt_spans):
            continue
        for attempt, starts in checker.ledger.starts.items():
            start = starts[0]
            if held.job not in ("", start.job) or not held.span.begin < start.at < held.span.end - GRAIN:
                continue
            if first < instant(start.due) < last:
                text = f"{attempt} began while {held.job or 'the host'} was held, since {clock(held.span.begin)}"
                yield Violation("held", text, attempt.run, start.at)
