"""Runs side by side that must not be, by what they wrote down: also of jobs that can't try their claims by flock(2)."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.ledger import GRAIN, Attempt
from tests.chaos.verdict import Violation

if TYPE_CHECKING:
    from tests.chaos.checker import Checker


class Life(NamedTuple):
    """From when till when (ns) the process of an attempt lived for sure."""

    begin: int
    end: int
    job: str
    attempt: Attempt


def side_by_side(checker: Checker) -> Iterator[Violation]:
    """Find what ran beside a run that is exclusive, and runs that held a lock of a user's, or their job, at once."""
    lives = sorted(_lives(checker))
    begins = [life.begin for life in lives]
    longest = max((life.end - life.begin for life in lives), default=0)
    for alone in lives:
        if alone.job in checker.day.jobs and checker.day.jobs[alone.job].keys.get("exclusive"):
            near = lives[bisect_left(begins, alone.begin - longest) : bisect_left(begins, alone.end)]
            yield from _beside(checker, alone, near)
    claimed = defaultdict[str, list[Life]](list)
    for life in lives:
        job = checker.day.jobs.get(life.job)
        if job is not None and job.tick:
            for lock in job.keys.get("locks", ()):
                claimed[f"lock {lock} of {life.job.partition('/')[0]}"].append(life)
            if job.keys.get("concurrency", 1) == 1:
                claimed[f"job {life.job}"].append(life)
    for claim, holders in claimed.items():
        checker.notes["starts with a claim that the ledger tells of"] += len(holders)
        for number, first in enumerate(holders):
            yield from _beside(checker, first, holders[number + 1 : number + 2], claim)


def _lives(checker: Checker) -> Iterator[Life]:
    for attempt, starts in checker.ledger.starts.items():
        ends = checker.ledger.ends.get(attempt)
        if ends and len(starts) == 1:
            yield Life(starts[0].at, ends[0].at, starts[0].job, attempt)


def _beside(checker: Checker, one: Life, others: list[Life], claim: str = "the host") -> Iterator[Violation]:
    for other in others:
        shared = min(one.end, other.end) - max(one.begin, other.begin)
        if other.attempt != one.attempt and shared > 2 * GRAIN:
            runs = (one.attempt.run, other.attempt.run)
            if any(map(checker.losses.record, runs)):
                checker.notes["overlaps with what may be forgotten with state.db"] += 1
                continue
            text = f"{one.attempt} and {other.attempt} had {claim} at once for {shared / 1e9:.2f} s"
            yield Violation("overlaps", text, one.attempt.run, max(one.begin, other.begin), (other.attempt.run,))
