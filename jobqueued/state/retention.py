"""Counts of a job's history, to decide which runs are beyond retention."""

from __future__ import annotations

from collections.abc import Collection

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import UNBOUNDED
from jobqueued.settings.settings import Retention
from jobqueued.state.record_files import Files, RecordListing

FEW = 10
"""Number of runs up to which a full check costs no more than a check of the new runs alone."""


class CheckedRuns(NamedTuple):
    """The runs of a job that remained after a check, so that the next check can be limited to new runs.

    These are all runs up to the number `newest`, each with a record file. Runs that may still change are in `open` and
    are not counted. The files of the counted runs were last changed at `oldest` (wall) or later. `last` is the greatest
    counted number, and `latest` is when the files of that run were changed, or None if the files were not changed in
    the order of the numbers.
    """

    newest: int
    open: frozenset[int]
    runs: int
    skips: int
    bytes: int
    files: int
    oldest: int
    last: int
    latest: int | None

    def is_new(self, number: int) -> bool:
        """Return whether a run is new since the check, or may have changed."""
        return number > self.newest or number in self.open

    def without(self, gone: RetentionTally, oldest: int) -> CheckedRuns:
        """Return a copy without the removed runs, which `gone` counts."""
        return self._replace(
            runs=self.runs - gone.runs,
            skips=self.skips - gone.skips,
            bytes=self.bytes - gone.bytes,
            files=self.files - gone.files,
            oldest=oldest,
        )

    def covers(self, numbers: Collection[int], found: RecordListing) -> bool:
        """Return whether the counts of runs and files still match these run numbers, and all these runs have a record
        file.
        """
        outputs = len(found.outputs.intersection(numbers))
        as_many = self.runs + self.skips == len(numbers) and self.files == len(numbers) + outputs
        return as_many and found.records.issuperset(numbers)


def is_beyond(retention: Retention, count: int, size: int, changed: int, too_old_before: int) -> bool:
    """Return whether a run is beyond retention.

    `count` and `size` (bytes) include the run and all newer runs. `changed`: when its files changed last (wall).
    `too_old_before`: an instant (wall).
    """
    return count > retention.runs or size > retention.bytes or changed < too_old_before


class RetentionTally:
    """A count of a job's history, starting with the newest run, to decide which runs to keep; skips are counted
    separately.
    """

    def __init__(self, retention: Retention, wall: int, *, newest: int = 0, keeps_one: bool = True) -> None:
        """Start a count. `newest`: the number of the newest run. `keeps_one`: whether the newest run is kept regardless
        of its age and size.
        """
        self._retention, self._too_old_before, self._least = retention, wall - retention.age, int(keeps_one)
        self.runs = self.skips = self.bytes = self.files = 0
        """Totals of all counted runs."""
        self.newest, self._is_even = newest, True
        self._open, self._settled, self._size, self._files, self._since = set[int](), [0, 0], 0, 0, UNBOUNDED
        self._last, self._first, self._latest, self._is_in_order = 0, UNBOUNDED, 0, True
        self.kept = 0
        """The total size (bytes) of the kept runs."""

    def exceeds(self, modified: int, files: Files, *, is_skip: bool) -> bool:
        """Count the next older run; return whether this run is beyond retention."""
        self.runs, self.skips, self.bytes = self.runs + (not is_skip), self.skips + is_skip, self.bytes + files.bytes
        self.files += files.names
        count = self.skips if is_skip else self.runs
        beyond = is_beyond(self._retention, count, self.bytes, modified, self._too_old_before)
        return beyond and self.runs + self.skips > self._least

    def keep(self, number: int, files: Files, *, is_skip: bool, is_open: bool) -> None:
        """Count a kept run. A skip among the two newest runs is open, because more occurrences may be added to it."""
        self.kept += files.bytes
        if is_open or (is_skip and number >= self.newest - 1):
            self._open.add(number)
        elif not files.record:
            self._is_even = False
        else:
            self._settled[is_skip] += 1
            self._size, self._files = self._size + files.bytes, self._files + files.names
            if not self._last:
                self._last, self._latest, self._since = number, files.modified, files.modified
            self._is_in_order = self._is_in_order and files.modified <= self._since
            self._first, self._since = number, min(self._since, files.modified)

    def differs(self) -> None:
        """Remember that a run deviates from the rules or can't be checked; the next check must then cover all runs."""
        self._is_even = False

    def checked(self, before: CheckedRuns | None = None) -> CheckedRuns | None:
        """Return all kept runs, including runs that an earlier check kept (`before`).

        Return None if the next check must cover all runs, or if a full check costs no more.
        """
        (runs, skips), size, count, oldest = self._settled, self._size, self._files, self._since
        last, latest = self._last, self._latest if self._is_in_order else None
        if before is not None:
            runs, skips, size = runs + before.runs, skips + before.skips, size + before.bytes
            count, oldest = count + before.files, min(oldest, before.oldest)
            if before.latest is None or self._first < before.last or self._since < before.latest:
                latest = None
            if last < before.last:
                last, latest = before.last, None if last else before.latest
        if not self._is_even or runs + skips <= FEW:
            return None
        return CheckedRuns(self.newest, frozenset(self._open), runs, skips, size, count, oldest, last, latest)


class Eldest:
    """The choice of the oldest runs of a `CheckedRuns` to remove, given newer runs in a tally. The oldest run is judged
    first.
    """

    def __init__(self, retention: Retention, wall: int, known: CheckedRuns, newer: RetentionTally) -> None:
        self._kept, self._too_old_before = retention, wall - retention.age
        self._left, self._bytes = [known.runs + newer.runs, known.skips + newer.skips], known.bytes + newer.bytes
        self._is_in_order, self._rest, self._stays = known.latest is not None, known.oldest, UNBOUNDED
        """Whether the runs' files were changed in the order of the run numbers, and two instants (wall).

        No remaining run was changed before `_rest`, and no kept run was changed before `_stays`.
        """

    @property
    def all_stay(self) -> bool:
        """True if all remaining runs must be kept."""
        few = max(self._left) <= self._kept.runs and self._bytes <= self._kept.bytes
        return few and self._rest >= self._too_old_before

    def goes(self, files: Files, *, is_skip: bool) -> bool:
        """Return whether the next run, with these files, must be removed."""
        count = self._left[is_skip]
        beyond = is_beyond(self._kept, count, self._bytes, files.modified, self._too_old_before)
        self._left[is_skip], self._bytes = count - 1, self._bytes - files.bytes
        if self._is_in_order:
            self._rest = files.modified
        if beyond:
            return True
        self._stays = min(self._stays, files.modified)
        return False

    @property
    def oldest(self) -> int:
        """An instant (wall) before which no kept run was changed."""
        return min(self._stays, self._rest)
