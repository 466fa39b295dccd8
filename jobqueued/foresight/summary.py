"""The summary of several futures: of each figure its least and its most, which is the band that the draws give."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from jobqueued.child.tuples import NamedTuple
from jobqueued.foresight.tally import Blame, OfJob, Peak, Tally


class Band(NamedTuple):
    """The least and the most of a figure in all futures."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least:,}" if self.least == self.most else f"{self.least:,}…{self.most:,}"


def band(figures: Iterable[int]) -> Band:
    """The band of some figures, at least one."""
    found = list(figures)
    return Band(min(found), max(found))


class Row(NamedTuple):
    """The figures of a job: waits in ns, of all futures together; `blamed` the causes, the worst first."""

    job: str
    runs: Band
    late: Band
    """The number of runs that start late, or wait in the end."""
    waiting: Band
    """The number of those that wait in the end."""
    half: int
    most: int
    """The waits that 50 % and 95 % of its runs do not exceed."""
    longest: int
    missed: Band
    skipped: dict[str, int]
    """The number of occurrences that are skipped in the worst future, by the reason."""
    failed: Band
    blamed: list[tuple[Blame, int]]
    waited: int
    """The mean, of all futures, of what its runs wait together."""

    @property
    def is_remarkable(self) -> bool:
        """Tell whether there is more to say of it than that all goes as planned."""
        return bool(self.late.most or self.skipped)


_NOTHING = OfJob()
_live = attrgetter("live")


def peaks(futures: Sequence[Tally], count: int, apart: int, since: int) -> list[tuple[int, Band]]:
    """The instants from one on at which most runs are live in any future, at most one in each span of so many ns, with
    the band of the most of all futures in the same span, also of those in which nothing starts then.
    """
    started = [{peak.instant // apart: peak for peak in future.peaks(None, apart, since)} for future in futures]
    begins = {span: max(since, span * apart) for each in started for span in each}
    found = defaultdict[int, list[Peak]](list)
    for future, each in zip(futures, started, strict=True):
        for (span, begin), live in zip(begins.items(), future.live_at(begins.values()), strict=True):
            found[span].append(max(each.get(span, Peak(begin, 0)), Peak(begin, live), key=_live))
    worst = ((max(each, key=_live), band(map(_live, each))) for each in found.values())
    return sorted(((peak.instant, live) for peak, live in worst), key=lambda it: (-it[1].most, it[0]))[:count]


def rows(futures: Sequence[Tally]) -> list[Row]:
    """The rows of all jobs, those whose runs wait longest together first."""
    names = sorted({name for future in futures for name in future.jobs})
    found = [_row(name, [future.jobs.get(name, _NOTHING) for future in futures]) for name in names]
    return sorted(found, key=lambda row: (-row.missed.most, -row.waited, row.job))


def _row(name: str, found: list[OfJob]) -> Row:
    waits = sorted(wait for it in found for wait in it.waits)
    runs = sum(it.runs + it.waiting for it in found)
    blamed = Counter[Blame]()
    for it in found:
        blamed.update(it.blamed)
    reasons = {reason for it in found for reason in it.skipped}
    return Row(
        name, band(it.runs for it in found), band(len(it.waits) for it in found),
        band(it.waiting for it in found),
        wait_at(0.5, waits, runs), wait_at(0.95, waits, runs), waits[-1] if waits else 0,
        band(it.missed for it in found),
        {reason: max(it.skipped[reason] for it in found) for reason in sorted(reasons)},
        band(it.failed for it in found), blamed.most_common(), sum(waits) // len(found),
    )  # fmt: skip


def wait_at(level: float, waits: Sequence[int], runs: int) -> int:
    """The wait that this part of so many runs did not exceed; `waits`: those that were not 0, in order."""
    place = -int(-level * runs // 1) - 1 - (runs - len(waits))
    return waits[place] if waits and place >= 0 else 0


def lacked(found: Iterable[Row]) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """Name what binds: for how long runs wait for it, in all futures, and whose end they wait for, the worst first."""
    waited, holders = Counter[str](), dict[str, Counter[str]]()
    for row in found:
        for blame, time in row.blamed:
            waited[blame.lacked] += time
            if blame.holder:
                holders.setdefault(blame.lacked, Counter())[blame.holder] += time
    return [(name, time, holders.get(name, Counter()).most_common()) for name, time in waited.most_common()]


def figures(futures: Sequence[Tally], figure: Callable[[Tally], int]) -> Band:
    """The band of a figure of the whole host."""
    return band(map(figure, futures))
