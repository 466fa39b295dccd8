"""The tally of one future: each job's runs, waits and causes of waits, and the host's load.

Instants and durations are nanoseconds. A run is *late* if its first attempt starts after its planned start, which is
the due time plus the job's delay within `spread`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.runs.eligibility import DEADLINE
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState

DEPENDENCIES, CONCURRENCY, RATE, RESERVATION, HOLD = "dependencies", "concurrency", "rate", "reservation", "hold"
"""Causes of waits other than locks and resources: dependencies, live runs of the same job, its rate, a reservation, a
hold.
"""


class Blame(NamedTuple):
    """The cause of a wait: the missing resource, and the job whose end released the resource, or "" if none did."""

    lacked: str
    holder: str


@dataclass(slots=True)
class OfJob:
    """The tally of one job."""

    runs: int = 0
    waiting: int = 0
    """Number of runs that still wait for their start at the end of the simulation."""
    waits: array[int] = field(default_factory=lambda: array("q"))
    """Delay of each late run (ns); for runs that still wait at the end, the delay so far."""
    ends: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    """Total time of all attempts (ns)."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason → number of skipped occurrences."""
    blamed: dict[Blame, int] = field(default_factory=dict)
    """Cause → total wait of the job's runs (ns)."""
    dues: array[int] = field(default_factory=lambda: array("q"))
    begun: array[int] = field(default_factory=lambda: array("q"))
    """Due time and start of each run, if starts are recorded."""

    @property
    def starts(self) -> Iterator[tuple[int, int]]:
        """The due time and the start of each run, as pairs."""
        return zip(self.dues, self.begun, strict=True)

    @property
    def missed(self) -> int:
        """Number of occurrences that missed their `start_deadline`."""
        return self.skipped[DEADLINE]

    @property
    def waited(self) -> int:
        """Total wait of the job's runs (ns)."""
        return sum(self.waits)

    @property
    def failed(self) -> int:
        """Number of runs that ended without success."""
        return self.ends.total() - self.ends[RunState.SUCCEEDED.value]


class Tally:
    """The counters of one future. `keeps_starts`: whether to record each start too."""

    def __init__(self, *, keeps_starts: bool = False) -> None:
        self.jobs: dict[str, OfJob] = {}
        self._keeps_starts = keeps_starts
        self._begun, self._over = array("q"), array("q")

    def of(self, job: str) -> OfJob:
        """Return the tally of a job."""
        found = self.jobs.get(job)
        if found is None:
            found = self.jobs[job] = OfJob()
        return found

    def started(
        self, run: RunId, due: int, planned: int, start: int, blame: Blame | None, holder: RunId | None = None
    ) -> None:
        """Count the start of a run; `holder`: the run whose end released the missing resource."""
        it = self.of(run.job)
        it.runs += 1
        if self._keeps_starts:
            it.dues.append(due)
            it.begun.append(start)
        if start > planned:
            _wait(it, start - planned, blame)

    def found(self, run: RunId, due: int, queued: int, started: int, attempts: Sequence[tuple[int, int]]) -> None:
        """Record a run that started before the simulation, with its ended attempts.

        A tally ignores it; a story records it.
        """

    def waits(
        self, run: RunId, due: int, planned: int, until: int, blame: Blame | None, holder: RunId | None = None
    ) -> None:
        """Count a run that still waits at the end; `holder`: the run that holds the missing resource."""
        it = self.of(run.job)
        it.waiting += 1
        _wait(it, until - planned, blame)

    def attempted(self, run: RunId, start: int, end: int) -> None:
        """Count an attempt; an attempt that is live at the end of the simulation ends at this instant."""
        self._begun.append(start)
        self._over.append(end)
        self.of(run.job).busy += end - start

    def retries(self, run: RunId) -> None:
        """Record a run that waits for its next attempt at the end. A tally ignores it; a story records it."""

    def ended(self, run: RunId, state: str) -> None:
        """Count the end of a run."""
        self.of(run.job).ends[state] += 1

    def skipped(self, run: RunId, reason: str, times: int, first: int, last: int) -> None:
        """Count the skipped occurrences that a skip covers; `first` and `last` are due times."""
        self.of(run.job).skipped[reason] += times

    @property
    def runs(self) -> int:
        """Number of all starts."""
        return sum(it.runs for it in self.jobs.values())

    @property
    def waiting(self) -> int:
        """Number of all runs that still wait at the end."""
        return sum(it.waiting for it in self.jobs.values())

    @property
    def waited(self) -> int:
        """Total wait of all runs (ns)."""
        return sum(it.waited for it in self.jobs.values())

    @property
    def missed(self) -> int:
        """Number of occurrences that missed their `start_deadline`."""
        return sum(it.missed for it in self.jobs.values())

    @property
    def failed(self) -> int:
        """Number of runs that ended without success."""
        return sum(it.failed for it in self.jobs.values())

    @property
    def most_live(self) -> int:
        """Maximum number of runs that are live at the same time."""
        return max((live for _, live in _levels(self._begun, self._over)), default=0)

    def peaks(self, count: int | None, apart: int, since: int = 0) -> list[Peak]:
        """Return the `count` instants from `since` on when the most runs were live; None means all such instants.

        Return at most one instant for each span of `apart` ns.
        """
        found: dict[int, Peak] = {}
        for instant, live in _levels((max(since, start) for start in self._begun), self._over):
            span = instant // apart
            if span not in found or live > found[span].live:
                found[span] = Peak(instant, live)
        return sorted(found.values(), key=lambda peak: (-peak.live, peak.instant))[:count]

    def live_at(self, instants: Iterable[int]) -> list[int]:
        """Return the number of runs that started before each instant and end after it."""
        begun, over = sorted(self._begun), sorted(self._over)
        return [bisect_left(begun, instant) - bisect_right(over, instant) for instant in instants]


def _wait(it: OfJob, time: int, blame: Blame | None) -> None:
    it.waits.append(time)
    if blame is not None:
        it.blamed[blame] = it.blamed.get(blame, 0) + time


class Peak(NamedTuple):
    """An instant, and the number of live runs from this instant on."""

    instant: int
    live: int


def _levels(begun: Iterable[int], over: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Yield each start and the number of live runs from this start on; a run that ends at the same instant does not
    count.
    """
    ends, live = iter(sorted(over)), 0
    end = next(ends, None)
    for start in sorted(begun):
        live += 1
        while end is not None and end <= start:
            live -= 1
            end = next(ends, None)
        yield start, live
