"""What waits for several others: it starts once for each round of them, after all of these, and not for less."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.chaos.jobs import Job
from tests.chaos.ledger import GRAIN
from tests.chaos.timeline import instant
from tests.chaos.verdict import Violation

if TYPE_CHECKING:
    from tests.chaos.checker import Checker

_SLACK = 1
"""Ends that came almost at once may have been told in the other order."""
_NOTICED = 5 * 10**9


def broken(checker: Checker) -> Iterator[Violation]:
    """Find starts that those which are waited for can't have made due, and rounds that made nothing due."""
    if checker.timeline.hurts:  # what had been due is then not known by all ends
        return
    for job in checker.day.jobs.values():
        if len(job.keys.get("dependencies", ())) > 1:
            yield from _too_early(checker, job)
            yield from _missed(checker, job)


def _too_early(checker: Checker, job: Job) -> Iterator[Violation]:
    """Find the n-th start that came before each of the others had succeeded n times: by the ledger alone."""
    begun: dict[str, int] = {}
    for attempt, starts in checker.ledger.starts.items():
        if starts[0].job == job.id:
            begun[attempt.run] = min(begun.get(attempt.run, 1 << 62), starts[0].at)
    for name in job.keys["dependencies"]:
        succeeded = sorted(
            ends[-1].at
            for attempt, ends in checker.ledger.ends.items()
            if attempt.run.rpartition("@")[0] == name and not ends[-1].code
        )
        for number, (at, run) in enumerate(sorted((at, run) for run, at in begun.items()), 1):
            if (known := bisect_right(succeeded, at + GRAIN)) < number:
                text = f"{run} is start {number} of {job.id}, and {name} had succeeded {known} times by then"
                yield Violation("order", text, run, at)
                break
        checker.notes["starts that waited for each of several ends"] += len(begun)


def _missed(checker: Checker, job: Job) -> Iterator[Violation]:
    """Find out whether there were fewer due times than rounds, by the records."""
    if any(kind.startswith("clock") for kind in checker.timeline.counts):
        return  # instants of records do not tell the order of ends
    own = [it for it in checker.records.values() if it["job"] == job.id and it["key"].startswith("d")]
    ends = sorted(
        (instant(it["ended"]), it["job"])
        for it in checker.records.values()
        if it["job"] in job.keys["dependencies"] and it["state"] == "succeeded" and it.get("ended")
    )
    due, waiting = 0, set[str]()
    for at, name in ends:
        if at + _NOTICED > checker.day.evening:
            break
        waiting.add(name)
        if len(waiting) == len(job.keys["dependencies"]):
            due, waiting = due + 1, set()
    if len(own) + checker.evidence.out_of_step[job.id] + _SLACK < due and not checker.is_in_no_file(job.id):
        yield Violation("lost", f"{job.id} was due {due} times, and {len(own)} records tell of it", own[-1]["run"], 0)
