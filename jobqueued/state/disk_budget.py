"""The size of all jobs' records and output, and the job whose oldest runs must be removed if the total is too large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from jobqueued.model.job import UNBOUNDED
from jobqueued.model.users import budget_of, share_of

URGENT = 4
"""A check of ended runs becomes urgent when their output is a quarter of a limit."""


class Room:
    """The bytes that the runs of each job used at the last check.

    `max_use`: limit of all jobs together; `of_a_user`: limit of each user's jobs; None means no limit.
    """

    def __init__(self, max_use: int | None, of_a_user: int | None) -> None:
        self.total = 0
        self._max_use = UNBOUNDED if max_use is None else max_use
        self._of_a_user = UNBOUNDED if of_a_user is None else of_a_user
        self._kept: dict[str, int] = {}
        self._of_users = Counter[str]()
        self._unchecked = Counter[str]()
        """User → bytes of output of the runs that ended since the last check; "" means the host's jobs."""
        self._bounds: dict[str, int] = {}
        """Job → its limit (bytes), while all jobs together, or one user's jobs, exceed their common limit."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def note(self, job: str, size: int) -> None:
        """Record the number of bytes that a job uses."""
        self.forget(job)
        self._kept[job] = size
        self._add(job, size)

    def forget(self, job: str) -> None:
        """Record that a job no longer uses space."""
        if job in self._kept:
            self._add(job, -self._kept.pop(job))

    def note_output(self, job: str, output: int) -> None:
        """Record that a run ended and left this output (bytes)."""
        self._unchecked[budget_of(job)] += output

    def note_checked(self) -> None:
        """Record that all ended runs were checked."""
        self._unchecked.clear()

    @property
    def is_check_urgent(self) -> bool:
        """True if the output of runs that are not checked yet may soon exceed a limit."""
        of_users = max((size for share, size in self._unchecked.items() if share), default=0)
        return of_users >= self._of_a_user // URGENT or self._unchecked.total() >= self._max_use // URGENT

    def _add(self, job: str, size: int) -> None:
        self.total += size
        if share := budget_of(job):
            self._of_users[share] += size
            if not self._of_users[share]:
                del self._of_users[share]

    def bound(self, job: str, most: int) -> int:
        """Return the limit (bytes) of a job's runs, at most `most`; for a pool (``alice/``), at most the limit of each
        user.
        """
        if job.endswith("/") and share_of(job) and self._of_a_user != UNBOUNDED:
            most = self._of_a_user
        return min(most, self._bounds.get(job, UNBOUNDED))

    def keeps_newest(self, job: str) -> bool:
        """Return whether a job's newest run stays regardless of its size; not while its user must free space."""
        return not (budget_of(job) and job in self._bounds)

    def largest(self) -> str | None:
        """Return the largest job if the limit of all jobs or of a user is exceeded, or None if neither is.

        The job gets a new limit, so that its oldest runs are removed: the size of the next largest job, or the size
        that ends the excess. A job above its limit is not returned again, because it has nothing more to remove.
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
