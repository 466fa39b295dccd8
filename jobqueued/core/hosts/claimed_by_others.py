"""Occurrences that other hosts of the fleet have claimed before a job's clock on this host reached them."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.tuples import NamedTuple

_MOST, _MOST_SPANS = 10_000, 100
"""Limits, for each job, of remembered occurrences and of remembered skips of several occurrences."""


class SkippedSpan(NamedTuple):
    """Several occurrences that one host skipped: from one UTC second to another, both included."""

    first: int
    last: int

    def covers(self, second: int) -> bool:
        """Return whether an occurrence is in the span."""
        return self.first <= second <= self.last


def span_of(state: str, second: int) -> SkippedSpan:
    """Return the span that ends at `second`. The span starts at FIRST if the occurrence's state is ``skipped FIRST``,
    otherwise at `second`.
    """
    end, _, first = state.partition(" ")
    is_span = end == "skipped" and first.isascii() and first.isdecimal() and len(first) <= len(str(second))
    return SkippedSpan(min(int(first), second) if is_span else second, second)


class Elsewhere:
    """The occurrences of other hosts, by job.

    If a job has too many, the oldest are dropped. This does no harm: if a host requests a dropped occurrence, the fleet
    denies it.
    """

    def __init__(self) -> None:
        self._taken = defaultdict[str, set[int]](set)
        self._skipped = defaultdict[str, list[SkippedSpan]](list)

    def note(self, job: str, span: SkippedSpan, cursor: int) -> None:
        """Record that another host has these occurrences, unless the cursor is past them."""
        if span.last <= cursor // SECOND:
            return
        if span.first == span.last:
            self._taken[job].add(span.last)
        elif span not in self._skipped[job]:
            self._skipped[job].append(span)
        if len(self._taken[job]) > _MOST:
            self._taken[job] = set(sorted(self._taken[job])[_MOST // 2 :])
        if len(self._skipped[job]) > _MOST_SPANS:
            del self._skipped[job][: _MOST_SPANS // 2]

    def returned(self, job: str, second: int) -> None:
        """Record that no host has an occurrence any longer."""
        if job in self._taken:
            self._taken[job].discard(second)

    def has(self, job: str, due: int) -> bool:
        """Return whether another host has an occurrence."""
        second = due // SECOND
        return second in self._taken.get(job, ()) or any(it.covers(second) for it in self._skipped.get(job, ()))

    def leave_out(self, job: str, dues: list[int]) -> list[int]:
        """Return the due times that no other host has."""
        return [due for due in dues if not self.has(job, due)]

    def first_free(self, job: str, dues: list[int], own: set[int]) -> list[int]:
        """Return the first free due times, up to the next due time that is in `own` or that another host has."""
        free = [due for due in self.leave_out(job, dues) if due not in own]
        if not free:
            return []
        begun = [*self._taken.get(job, ()), *(due // SECOND for due in own)]
        edges = sorted([*begun, *(edge for span in self._skipped.get(job, ()) for edge in span)])
        before = [bisect(edges, due // SECOND) for due in free]
        return free[: bisect(before, before[0])]

    def drop(self, job: str) -> None:
        """Forget a job that was removed."""
        self._taken.pop(job, None)
        self._skipped.pop(job, None)

    def pass_by(self, job: str, cursor: int) -> None:
        """Forget a job's occurrences up to this cursor."""
        taken, skipped, second = self._taken.pop(job, ()), self._skipped.pop(job, ()), cursor // SECOND
        if later := {each for each in taken if each > second}:
            self._taken[job] = later
        if spans := [span for span in skipped if span.last > second]:
            self._skipped[job] = spans
