"""The bytes of all jobs' records and output, and which job loses some if they are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from jobqueued.model.job import UNBOUNDED
from jobqueued.model.users import budget_of, share_of


class Room:
    """The bytes of the runs that each job keeps, as of the last check.

    `max_use`: maximum of all jobs together, `of_a_user` of the jobs of a user; None: no limit.
    """

    def __init__(self, max_use: int | None, of_a_user: int | None) -> None:
        self.total = 0
        self._max_use = UNBOUNDED if max_use is None else max_use
        self._of_a_user = UNBOUNDED if of_a_user is None else of_a_user
        self._kept: dict[str, int] = {}
        self._of_users = Counter[str]()
        self._bounds: dict[str, int] = {}
        """Job → bytes that it may keep now, because all jobs together have too many."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def note(self, job: str, size: int) -> None:
        """Note the bytes that a job keeps."""
        self.forget(job)
        self._kept[job] = size
        self._add(job, size)

    def forget(self, job: str) -> None:
        """Note that a job keeps nothing."""
        if job in self._kept:
            self._add(job, -self._kept.pop(job))

    def _add(self, job: str, size: int) -> None:
        self.total += size
        if share := budget_of(job):
            self._of_users[share] += size
            if not self._of_users[share]:
                del self._of_users[share]

    def bound(self, job: str, most: int) -> int:
        """Return the bytes that a job may keep, at most `most`; for a pool, the limit of a user."""
        if job.endswith("/") and share_of(job) and self._of_a_user != UNBOUNDED:
            most = self._of_a_user
        return min(most, self._bounds.get(job, UNBOUNDED))

    def largest(self) -> str | None:
        """Return the job that keeps most, if all together keep too much, or None.

        Its limit becomes what the next one keeps, so its oldest runs go.  A job above its limit has nothing more to
        remove.
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
