"""The bytes that records and output of all jobs have, and who gives way where they are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from jobqueued.model import UNBOUNDED
from jobqueued.users import budget_of, share_of


class Room:
    """The bytes of the runs that each job keeps, when it was looked at last.

    `max_use`: all jobs may have so many together, `of_a_user` those of a user; None: any number.
    """

    def __init__(self, max_use: int | None, of_a_user: int | None) -> None:
        self.total = 0
        self._max_use = UNBOUNDED if max_use is None else max_use
        self._of_a_user = UNBOUNDED if of_a_user is None else of_a_user
        self._kept: dict[str, int] = {}
        self._of_users = Counter[str]()
        self._bounds: dict[str, int] = {}
        """The bytes that some jobs may keep now, as all of them have too many."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def note(self, job: str, size: int) -> None:
        """Note what a job keeps."""
        self.forget(job)
        self._kept[job] = size
        self._add(job, size)

    def forget(self, job: str) -> None:
        """Note that nothing is kept of a job."""
        if job in self._kept:
            self._add(job, -self._kept.pop(job))

    def _add(self, job: str, size: int) -> None:
        self.total += size
        if share := budget_of(job):
            self._of_users[share] += size
            if not self._of_users[share]:
                del self._of_users[share]

    def bound(self, job: str, most: int) -> int:
        """The bytes that a job may keep, of which it could have `most` if there was room; of a pool those of a user."""
        if job.endswith("/") and share_of(job) and self._of_a_user != UNBOUNDED:
            most = self._of_a_user
        return min(most, self._bounds.get(job, UNBOUNDED))

    def largest(self) -> str | None:
        """The job that keeps most, if all together keep too much: its oldest runs go, down to what the next one keeps.

        A job that keeps more than it may has nothing more to let go.
        """
        greedy = [share for share, size in self._of_users.items() if size > self._of_a_user]
        if self.total <= self._max_use and not greedy:
            self._bounds.clear()
            return None
        sizes = sorted((size, job) for job, size in self._kept.items() if size <= self._bounds.get(job, size))
        excess, rest = self.total - self._max_use, sizes
        for share in greedy:
            if excess > 0 and rest:
                break
            excess = self._of_users[share] - self._of_a_user
            rest = [(size, job) for size, job in sizes if budget_of(job) == share]
        if excess <= 0 or not rest:
            self._bounds.clear()
            return None
        (size, job), (next_size, _) = rest[-1], rest[-2] if len(rest) > 1 else (0, "")
        self._bounds[job] = max(size - excess, next_size if next_size < size else 0)
        return job
