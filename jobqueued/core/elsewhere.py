"""Occurrences that are other hosts' of the fleet, and that a job's clock is still to come to: run there, or skipped."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict

from jobqueued.child.tuples import NamedTuple
from jobqueued.model import SECOND

_MOST, _MOST_SPANS = 10_000, 100
"""Occurrences of a job, and skips of several at once, that are known before its clock comes to them."""


class Span(NamedTuple):
    """The occurrences from one second to another, both UTC, that one host has skipped."""

    first: int
    last: int

    def covers(self, second: int) -> bool:
        """Tell whether an occurrence is among them."""
        return self.first <= second <= self.last


def span_of(state: str, second: int) -> Span:
    """The span up to a `second` that an occurrence stands for, by how it has ended: ``skipped FIRST``, or itself."""
    end, _, first = state.partition(" ")
    is_span = end == "skipped" and first.isascii() and first.isdecimal() and len(first) <= len(str(second))
    return Span(min(int(first), second) if is_span else second, second)


class Elsewhere:
    """Those of each job, of which the oldest are forgotten where there are too many: who asks for one hears it then."""

    def __init__(self) -> None:
        self._taken = defaultdict[str, set[int]](set)
        self._skipped = defaultdict[str, list[Span]](list)

    def note(self, job: str, span: Span, cursor: int) -> None:
        """Note that another host has these, as far as they are after the cursor."""
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
        """Note that nobody has an occurrence any more."""
        if job in self._taken:
            self._taken[job].discard(second)

    def has(self, job: str, due: int) -> bool:
        """Tell whether another host has an occurrence."""
        second = due // SECOND
        return second in self._taken.get(job, ()) or any(it.covers(second) for it in self._skipped.get(job, ()))

    def leave_out(self, job: str, dues: list[int]) -> list[int]:
        """Leave out of what a job's clock has come to what others have."""
        return [due for due in dues if not self.has(job, due)]

    def first_free(self, job: str, dues: list[int], own: set[int]) -> list[int]:
        """The first of these that are nobody's, as far as nothing that others have, or is this host's `own`, is between
        them.
        """
        free = [due for due in self.leave_out(job, dues) if due not in own]
        if not free:
            return []
        begun = [*self._taken.get(job, ()), *(due // SECOND for due in own)]
        edges = sorted([*begun, *(edge for span in self._skipped.get(job, ()) for edge in span)])
        before = [bisect(edges, due // SECOND) for due in free]
        return free[: bisect(before, before[0])]

    def drop(self, job: str) -> None:
        """Forget a job, whose clock comes to nothing any more."""
        self._taken.pop(job, None)
        self._skipped.pop(job, None)

    def pass_by(self, job: str, cursor: int) -> None:
        """Note that a job's clock has come so far, and does not come there again."""
        taken, skipped, second = self._taken.pop(job, ()), self._skipped.pop(job, ()), cursor // SECOND
        if later := {each for each in taken if each > second}:
            self._taken[job] = later
        if spans := [span for span in skipped if span.last > second]:
            self._skipped[job] = spans
