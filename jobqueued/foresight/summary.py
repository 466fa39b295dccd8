"""The summary of several futures: each figure's minimum and maximum."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.foresight.tally import Blame, OfJob, Peak, Tally


class Band(NamedTuple):
    """A figure's minimum and maximum over all futures."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least:,}" if self.least == self.most else f"{self.least:,}…{self.most:,}"


def band(figures: Iterable[int]) -> Band:
    """Return the band of the figures, which must not be empty."""
    found = list(figures)
    return Band(min(found), max(found))


class JobFigures(NamedTuple):
    """A job's figures over all futures; waits are in ns. `blamed`: the causes of waits, the worst first."""

    job: str
    runs: Band
    late: Band
    """Number of runs that start late or still wait at the end."""
    waiting: Band
    """Number of runs that still wait at the end."""
    half: int
    most: int
    """Median and 95th percentile of the runs' waits (ns)."""
    longest: int
    missed: Band
    skipped: dict[str, int]
    """Reason → number of skipped occurrences in the worst future."""
    failed: Band
    blamed: list[tuple[Blame, int]]
    waited: int
    """Total wait (ns) of the job's runs, as a mean over all futures."""

    @property
    def is_remarkable(self) -> bool:
        """Return whether a run is late or skipped in any future."""
        return bool(self.late.most or self.skipped)


_NOTHING = OfJob()
_live = attrgetter("live")


def peaks(futures: Sequence[Tally], count: int, apart: int, since: int) -> list[tuple[int, Band]]:
    """Return the `count` instants since `since` (ns) when the most runs are live in any future, each with the band of
    live runs.

    Return at most one instant for each span of `apart` ns. The band also includes futures without a start in the span.
    """
    started = [{peak.instant // apart: peak for peak in future.peaks(None, apart, since)} for future in futures]
    begins = {span: max(since, span * apart) for each in started for span in each}
    found = defaultdict[int, list[Peak]](list)
    for future, each in zip(futures, started, strict=True):
        for (span, begin), live in zip(begins.items(), future.live_at(begins.values()), strict=True):
            found[span].append(max(each.get(span, Peak(begin, 0)), Peak(begin, live), key=_live))
    worst = ((max(each, key=_live), band(map(_live, each))) for each in found.values())
    return sorted(((peak.instant, live) for peak, live in worst), key=lambda it: (-it[1].most, it[0]))[:count]


def rows(futures: Sequence[Tally]) -> list[JobFigures]:
    """Return all jobs' figures, sorted by missed deadlines and then by total wait, largest first."""
    names = sorted({name for future in futures for name in future.jobs})
    found = [_row(name, [future.jobs.get(name, _NOTHING) for future in futures]) for name in names]
    return sorted(found, key=lambda row: (-row.missed.most, -row.waited, row.job))


def _row(name: str, found: list[OfJob]) -> JobFigures:
    waits = sorted(wait for it in found for wait in it.waits)
    runs = sum(it.runs + it.waiting for it in found)
    blamed = Counter[Blame]()
    for it in found:
        blamed.update(it.blamed)
    reasons = {reason for it in found for reason in it.skipped}
    return JobFigures(
        name,
        band(it.runs for it in found),
        band(len(it.waits) for it in found),
        band(it.waiting for it in found),
        wait_at(0.5, waits, runs),
        wait_at(0.95, waits, runs),
        waits[-1] if waits else 0,
        band(it.missed for it in found),
        {reason: max(it.skipped[reason] for it in found) for reason in sorted(reasons)},
        band(it.failed for it in found),
        blamed.most_common(),
        sum(waits) // len(found),
    )


def wait_at(level: float, waits: Sequence[int], runs: int) -> int:
    """Return the wait (ns) that the fraction `level` of the runs did not exceed. `waits`: the waits above 0, sorted."""
    place = -int(-level * runs // 1) - 1 - (runs - len(waits))
    return waits[place] if waits and place >= 0 else 0


def lacked(found: Iterable[JobFigures]) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """Return each resource that runs wait for, the total wait (ns), and the jobs that cause the wait, worst first."""
    waited, holders = Counter[str](), dict[str, Counter[str]]()
    for row in found:
        for blame, time in row.blamed:
            waited[blame.lacked] += time
            if blame.holder:
                holders.setdefault(blame.lacked, Counter())[blame.holder] += time
    return [(name, time, holders.get(name, Counter()).most_common()) for name, time in waited.most_common()]


def figures(futures: Sequence[Tally], figure: Callable[[Tally], int]) -> Band:
    """Return the band of a figure for the whole host."""
    return band(map(figure, futures))
