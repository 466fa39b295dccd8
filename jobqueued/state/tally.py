"""The history of a job, counted: what of it is beyond what is kept."""

from __future__ import annotations

from jobqueued.settings import Retention


class Tally:
    """The history that a job keeps, counted from its newest run on; skips are counted apart."""

    def __init__(self, retention: Retention, wall: int, *, keeps_one: bool = True) -> None:
        """`keeps_one`: the newest run stays, however old it is."""
        self._retention, self._oldest, self._least = retention, wall - retention.age, int(keeps_one)
        self._runs = self._skips = self._bytes = 0

    def exceeds(self, modified: int, size: int, *, is_skip: bool) -> bool:
        """Count one more, older run; tell whether it is beyond what is kept."""
        self._runs, self._skips, self._bytes = self._runs + (not is_skip), self._skips + is_skip, self._bytes + size
        count = self._skips if is_skip else self._runs
        beyond = count > self._retention.runs or self._bytes > self._retention.bytes or modified < self._oldest
        return beyond and self._runs + self._skips > self._least
