"""Passages of the daemon's clock, which it went through without being set back, and how often they show a time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from tests.chaos.jobs import Job
from tests.chaos.timeline import FOREVER, Span

SECOND = 10**9
_SMALL = 60
"""The clock is soon where it was after no more than that (s), or than a job's period: nothing comes twice."""


class Passages:
    """Those of a day since the `dawn` (ns), by the `steps` of its clock: since when (ns, ours) which offset (ns).

    `quiet`: the spans, by that clock, in which it was far back, the daemon was well, and nothing happened.
    """

    def __init__(self, dawn: int, steps: Iterable[tuple[int, int]], quiet: Iterable[Span]) -> None:
        self._dawn, self._steps, self._quiet = dawn, tuple(steps), tuple(quiet)

    @property
    def is_far_back(self) -> bool:
        """Whether the clock was ever so far back that this was a fault of its own."""
        return bool(self._quiet)

    def shows(self, job: Job, due: int) -> int:
        """How often the clock came to a due time (s) of a job, each of which is an occurrence; of `at` one is."""
        if job.period is None:
            return 1
        return sum(passage.has(due * SECOND) for passage in self._of(min(job.period, _SMALL)))

    def is_sure(self, due: int) -> bool:
        """Whether a time came while nothing could keep the daemon from its jobs."""
        return any(span.begin + SECOND <= due * SECOND <= span.end - 2 * SECOND for span in self._quiet)

    @lru_cache(maxsize=100)  # noqa: B019
    def _of(self, least: int) -> list[Span]:
        """The passages, where a step back of more than so many seconds begins another."""
        found, offset = list[Span](), 0
        begin = reached = self._dawn
        for at, after in self._steps:
            before, now = at + offset, at + after
            reached = max(reached, before)
            farthest = max((span.end for span in found), default=0)
            if after < offset and max(offset - after, reached - now) > least * SECOND:
                found.append(Span(begin, reached))
                begin = reached = now
            elif after > offset and farthest > before:  # what it is set over has had its turn
                found.append(Span(begin, before))
                begin = reached = min(now, farthest)
            offset = after
        return [*found, Span(begin, FOREVER)]
