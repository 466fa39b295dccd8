"""The order of jobs: what waits for the end of another starts after that, and only if it was such an end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.chaos.jobs import RESULTS
from tests.chaos.ledger import GRAIN, Attempt, End, Start
from tests.chaos.verdict import Violation

if TYPE_CHECKING:
    from tests.chaos.checker import Checker


def broken(checker: Checker) -> Iterator[Violation]:
    """Find runs that began before that for which they wait, or though it did not come to pass."""
    ended = {attempt: ends[-1] for attempt, ends in checker.ledger.ends.items()}
    last = {attempt.run: end for attempt, end in sorted(ended.items())}
    for attempt, starts in checker.ledger.starts.items():
        record = checker.records.get(attempt.run)
        key = record["key"] if record else ""
        start = next((it for it in starts if record and it.due == record["due"]), starts[0])  # a number may come again
        job = checker.day.jobs.get(start.job)
        if job is None or key[:1] not in ("d", "j") or "@" not in key:
            continue
        wanted = RESULTS[job.keys["on"]["result"]] if "on" in job.keys else RESULTS["success"]
        checker.notes["starts that waited for another's end"] += 1
        for upstream in (record or {}).get("triggered_by", {}).get("ends") or [key[1:]]:
            yield from _of(checker, attempt, start, upstream, last.get(upstream), wanted)


def _of(
    checker: Checker, attempt: Attempt, start: Start, upstream: str, end: End | None, wanted: tuple[str, ...]
) -> Iterator[Violation]:  # fmt: skip
    """Judge a start by one of the ends that have made it due."""
    told = checker.records.get(upstream, {}).get("state")
    if not checker.losses.record(upstream):
        if end is not None and end.at > start.at + GRAIN:
            yield Violation(
                "order", f"{attempt} began before the end of {upstream}", attempt.run, start.at, (upstream,)
            )
        elif wanted == RESULTS["success"] and (end is None or end.code):
            yield Violation(
                "order", f"{attempt} began, and {upstream} did not succeed", attempt.run, start.at, (upstream,)
            )
        elif told is not None and told not in wanted:
            text = f"{attempt} began at the end of {upstream}, which is {told}, and not {' or '.join(wanted)}"
            yield Violation("order", text, attempt.run, start.at, (upstream,))
