"""The tally of one future: of each job its runs, waits, and what it waited for; of the host its load.

Instants and durations are nanoseconds.  A start is *late* by the time between its planned start (the due time, and the
job's part of `spread`) and the start of its first attempt.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from jobqueued.child.tuples import NamedTuple
from jobqueued.core.eligibility import DEADLINE
from jobqueued.model import RunId, RunState

DEPENDENCIES, CONCURRENCY, RESERVATION, HOLD = "dependencies", "concurrency", "reservation", "hold"
"""What a run may have waited for, beside locks and resources; the last two: what is kept for another, the host."""


class Blame(NamedTuple):
    """The cause of a wait: what was lacked, and the job whose end gave it free ("": none did)."""

    lacked: str
    holder: str


@dataclass(slots=True)
class OfJob:
    """The fate of one job."""

    runs: int = 0
    waiting: int = 0
    """The runs that still wait for their start in the end."""
    waits: array[int] = field(default_factory=lambda: array("q"))
    """Of each run that did not start as planned, by how much it was late; what waits in the end, by then."""
    ends: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    """The time that all of its attempts took together."""
    skipped: Counter[str] = field(default_factory=Counter)
    """The number of its occurrences that were skipped, by the reason."""
    blamed: dict[Blame, int] = field(default_factory=dict)
    """For how long its runs have waited, by what for."""
    dues: array[int] = field(default_factory=lambda: array("q"))
    begun: array[int] = field(default_factory=lambda: array("q"))
    """Due time and start of each run, where these are kept."""

    @property
    def starts(self) -> Iterator[tuple[int, int]]:
        """Both together."""
        return zip(self.dues, self.begun, strict=True)

    @property
    def missed(self) -> int:
        """The number of times that its `start_deadline` has passed."""
        return self.skipped[DEADLINE]

    @property
    def waited(self) -> int:
        """The time that all of its runs have waited together."""
        return sum(self.waits)

    @property
    def failed(self) -> int:
        """The runs that have not succeeded."""
        return self.ends.total() - self.ends[RunState.SUCCEEDED.value]


class Tally:
    """All that is counted of one future; `keeps_starts`: each start too."""

    def __init__(self, *, keeps_starts: bool = False) -> None:
        self.jobs: dict[str, OfJob] = {}
        self._keeps_starts = keeps_starts
        self._begun, self._over = array("q"), array("q")

    def of(self, job: str) -> OfJob:
        """The fate of a job."""
        found = self.jobs.get(job)
        if found is None:
            found = self.jobs[job] = OfJob()
        return found

    def started(
        self, run: RunId, due: int, planned: int, start: int, blame: Blame | None, holder: RunId | None = None
    ) -> None:
        """Count the start of a run; `holder`: the one whose end gave free what it lacked."""
        it = self.of(run.job)
        it.runs += 1
        if self._keeps_starts:
            it.dues.append(due)
            it.begun.append(start)
        if start > planned:
            _wait(it, start - planned, blame)

    def found(self, run: RunId, due: int, queued: int, started: int, attempts: Sequence[tuple[int, int]]) -> None:
        """Note a run that has started before the beginning, and its attempts that are over: it is not counted."""

    def waits(
        self, run: RunId, due: int, planned: int, until: int, blame: Blame | None, holder: RunId | None = None
    ) -> None:
        """Count a run that waits in the end; `holder`: the one that has what it lacks."""
        it = self.of(run.job)
        it.waiting += 1
        _wait(it, until - planned, blame)

    def attempted(self, run: RunId, start: int, end: int) -> None:
        """Count an attempt, which is live in between; one that lives in the end, up to then."""
        self._begun.append(start)
        self._over.append(end)
        self.of(run.job).busy += end - start

    def retries(self, run: RunId) -> None:
        """Note a run that waits for its next attempt in the end."""

    def ended(self, run: RunId, state: str) -> None:
        """Count the end of a run."""
        self.of(run.job).ends[state] += 1

    def skipped(self, run: RunId, reason: str, times: int, first: int, last: int) -> None:
        """Count occurrences that were skipped, by the run that stands for them; `first` and `last` were due then."""
        self.of(run.job).skipped[reason] += times

    @property
    def runs(self) -> int:
        """All starts."""
        return sum(it.runs for it in self.jobs.values())

    @property
    def waiting(self) -> int:
        """All runs that wait in the end."""
        return sum(it.waiting for it in self.jobs.values())

    @property
    def waited(self) -> int:
        """The time that all runs have waited together."""
        return sum(it.waited for it in self.jobs.values())

    @property
    def missed(self) -> int:
        """The number of times that a `start_deadline` has passed."""
        return sum(it.missed for it in self.jobs.values())

    @property
    def failed(self) -> int:
        """The runs that did not succeed."""
        return sum(it.failed for it in self.jobs.values())

    @property
    def most_live(self) -> int:
        """The most runs that are live at once."""
        return max((live for _, live in _levels(self._begun, self._over)), default=0)

    def peaks(self, count: int | None, apart: int, since: int = 0) -> list[Peak]:
        """The instants from one on at which most runs were live, at most one in each span of so many ns; None: all."""
        found: dict[int, Peak] = {}
        for instant, live in _levels((max(since, start) for start in self._begun), self._over):
            span = instant // apart
            if span not in found or live > found[span].live:
                found[span] = Peak(instant, live)
        return sorted(found.values(), key=lambda peak: (-peak.live, peak.instant))[:count]

    def live_at(self, instants: Iterable[int]) -> list[int]:
        """The number of runs that live on at each of some instants, having begun before it."""
        begun, over = sorted(self._begun), sorted(self._over)
        return [bisect_left(begun, instant) - bisect_right(over, instant) for instant in instants]


def _wait(it: OfJob, time: int, blame: Blame | None) -> None:
    it.waits.append(time)
    if blame is not None:
        it.blamed[blame] = it.blamed.get(blame, 0) + time


class Peak(NamedTuple):
    """An instant at which so many runs were live."""

    instant: int
    live: int


def _levels(begun: Iterable[int], over: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Yield each start with the number of runs live from then on; who ends at that instant is not any more."""
    ends, live = iter(sorted(over)), 0
    end = next(ends, None)
    for start in sorted(begun):
        live += 1
        while end is not None and end <= start:
            live -= 1
            end = next(ends, None)
        yield start, live
