"""The comparison of due times with records: every due time must have exactly one record, of either a run or a skip."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from jobqueued.audit.timeline import SLACK, DefinitionSpan, Down
from jobqueued.base.instants import to_instant
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.run import RunId

_CLOCK = re.compile(r"c(\d{1,18})\.\d+", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Cover:
    """The part of a record that the comparison needs. The record covers `count` scheduled due times, from `first` to
    `last`.

    `era` is None for an unscheduled run. If `is_pending`, the record is not final, and may be merged into another
    record.
    """

    number: int
    era: int | None
    first: int
    last: int
    count: int
    queued: int
    is_skip: bool = False
    is_pending: bool = False

    @property
    def key(self) -> tuple[int | None, int]:
        """The identity of the record's first occurrence."""
        return self.era, self.first

    @property
    def begins(self) -> int:
        """Runs for due times before this instant have lower numbers."""
        return self.queued if self.era is None else min(self.queued, self.first) - 1


def cover_of(record: Mapping[str, Any], *, is_pending: bool = False) -> Cover:
    """Return the part of a record that the comparison needs. Raises ValueError, TypeError or LookupError if the record
    is invalid.
    """
    key, due = _CLOCK.fullmatch(record["key"]), _instant(record["due"])
    is_skip = record["state"] == "skipped"
    last, count = (record.get("last_due"), record.get("count", 1)) if is_skip else (None, 1)
    return Cover(
        int(record["number"]),
        None if key is None else int(key[1]),
        due,
        _instant(last) if last else due,
        int(count),
        _instant(record["queued"]),
        is_skip,
        is_pending,
    )


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))


@dataclass(frozen=True, slots=True)
class DueFinding:
    """Consecutive due times without a record ("hole") or with two ("double"). `runs` contains the numbers of the
    related runs.
    """

    what: str
    first: int
    last: int
    count: int
    runs: tuple[int, ...]
    cause: str


class JobComparison(NamedTuple):
    """The result for one job: the number of due times after `since`, and the findings.

    `before` is the reason why due times up to `since` were not compared.
    """

    job: str
    since: int
    before: str
    due: int
    findings: list[DueFinding]


UNKNOWN_FILE = "its job file is unknown"
EXPIRED = "its records have expired"
ASKED = ""


@dataclass()
class Comparison:
    """The comparison for one job. `kept` is the number of runs, and also of skips, that retention keeps for a job."""

    job: str
    spans: Sequence[DefinitionSpan]
    covers: Sequence[Cover]
    kept: int
    downs: Sequence[Down] = ()
    _hits: Counter[int] = field(default_factory=Counter)
    _twice: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        reached = 0
        for after, until in sorted((span.after, span.until) for span in self.spans):
            if after < reached:
                begin = self._twice.pop()[0] if self._twice and after <= self._twice[-1][1] else after
                self._twice.append((begin, min(until, reached)))
            reached = max(reached, until)

    def verdict(self, since: int, until: int) -> JobComparison:
        """Compare the due times after `since` and up to `until`, except times that the clock passed twice."""
        begin, before = max((self.spans[0].after, UNKNOWN_FILE), (self._records_begin(), EXPIRED), (since, ASKED))
        self._sort()
        expected = Counter(due for span in self.spans for due in self._judged(span, begin, until))
        dues = sorted(expected)
        holes = [due for due in dues if not self._is_covered(due, expected[due])]
        findings = [*self._holes(dues, holes), *self._doubles(begin, until), *self._counts(begin, until)]
        return JobComparison(
            self.job, begin, before, sum(expected.values()), sorted(findings, key=lambda found: found.first)
        )

    def _records_begin(self) -> int:
        """Return the instant after which no record can have expired."""
        numbers = {cover.number for cover in self.covers}
        if len(numbers) == max(numbers, default=0):  # no record has expired
            return 0
        known = sorted(cover for cover in self.covers if not cover.is_pending)
        bounds = [known[0].begins] if known and known[0].number > 1 else []
        for is_skip in (False, True):
            of_a_kind = [cover for cover in known if cover.is_skip is is_skip]
            bounds += [of_a_kind[0].begins] if len(of_a_kind) >= self.kept else []
        return max(bounds, default=0)

    def _sort(self) -> None:
        self._exact = defaultdict[int, list[Cover]](list)
        self._ranges: list[Cover] = []
        for cover in sorted(cover for cover in self.covers if cover.era is not None):
            if cover.count == 1:
                self._exact[cover.first].append(cover)
            else:
                self._ranges.append(cover)
        self._hits = Counter()

    def _judged(self, span: DefinitionSpan, begin: int, until: int) -> Iterator[int]:
        """Yield the times that were certainly due; if `max_runs` may be used up, stop at the job's last record.

        Times that the clock passed twice are omitted, because a record does not show to which of the two it belongs.
        """
        limit = span.job.max_runs
        if limit is not None and max((cover.number for cover in self.covers), default=0) >= limit:
            if self._came_twice(span.after, span.until):
                return
            last = [cover.last for cover in self.covers if cover.era is not None and cover.last > span.after]
            until = min(until, max((due for due in last if due <= span.until), default=span.after))
        yield from (due for due in span.dues(begin, until) if not self._came_twice(due - 1, due))

    def _came_twice(self, after: int, until: int) -> bool:
        """Return whether the clock passed a part of this period more than once."""
        place = bisect_left(self._twice, (until, 0))
        return place > 0 and self._twice[place - 1][1] > after

    def _is_covered(self, due: int, times: int) -> bool:
        missing = times - len({cover.era for cover in self._exact.get(due, ())})
        for cover in self._ranges:
            if missing > 0 and cover.first <= due <= cover.last:
                self._hits[cover.number] += 1
                missing -= 1
        return missing <= 0

    # findings

    def _holes(self, dues: Sequence[int], holes: Iterable[int]) -> Iterator[DueFinding]:
        """Yield findings for due times without a record; consecutive due times are one finding."""
        place = {due: number for number, due in enumerate(dues)}
        rows: list[list[int]] = []
        for due in holes:
            if rows and place[due] == place[rows[-1][-1]] + 1:
                rows[-1].append(due)
            else:
                rows.append([due])
        for row in rows:
            gone = self._gone_about(row[0], row[-1])
            yield DueFinding("hole", row[0], row[-1], len(row), tuple(gone[:10]), self._cause(row[0], row[-1], gone))

    def _gone_about(self, first: int, last: int) -> list[int]:
        """Return the run numbers that are missing between the records before and after these due times."""
        clocked = sorted((cover for cover in self.covers if cover.era is not None), key=lambda cover: cover.first)
        place = bisect_left(clocked, first, key=lambda cover: cover.first)
        after = [cover.number for cover in clocked[place:] if cover.first > last][:1]
        low = clocked[place - 1].number if place else 0
        known = {cover.number for cover in self.covers}
        high = after[0] if after else max(known, default=0)
        return [number for number in range(low + 1, high) if number not in known]

    def _cause(self, first: int, last: int, gone: Sequence[int]) -> str:
        if gone:
            runs = str(RunId(self.job, gone[0])) + (f" to @{gone[-1]}" if len(gone) > 1 else "")
            return f"the record of {runs} is missing: it was deleted or damaged"
        for down in self.downs:
            if down.begin <= last and first <= down.end:
                by = (
                    "the clock was set forward past the occurrence"
                    if down.step
                    else "the daemon was down and did not make up for the occurrence"
                )
                return f"{by}; no run number is missing"
        return "no run number is missing: the occurrence never became due, or its record was the newest and was lost"

    def _doubles(self, begin: int, until: int) -> Iterator[DueFinding]:
        cause = "{} and {} are the same occurrence: an older state.db was restored, or a record was copied"
        for due, covers in self._exact.items():
            sure = sorted((cover for cover in covers if not cover.is_pending), key=lambda cover: (cover.key, cover))
            for one, two in pairwise(sure):
                if one.key == two.key and begin < due <= until:
                    runs = RunId(self.job, one.number), RunId(self.job, two.number)
                    yield DueFinding("double", due, due, 1, (one.number, two.number), cause.format(*runs))
        for one, two in pairwise(sorted(self._ranges, key=lambda cover: (cover.era, cover.first))):
            if one.era == two.era and two.first <= one.last and begin < two.first <= until:
                runs = RunId(self.job, one.number), RunId(self.job, two.number)
                last, least = min(one.last, two.last), min(one.count, two.count)
                yield DueFinding("double", two.first, last, least, (one.number, two.number), cause.format(*runs))

    def _counts(self, begin: int, until: int) -> Iterator[DueFinding]:
        """Yield findings for skips whose count differs from the number of due times."""
        for cover in self._ranges:
            hits, run = self._hits[cover.number], RunId(self.job, cover.number)
            if not begin < cover.first <= cover.last <= until or hits == cover.count:
                continue
            if self._came_twice(cover.first - 1, cover.last):
                continue
            about = [span for span in self.spans if span.after < cover.last and cover.first <= span.until + SLACK]
            beside = (one for one in self.covers if one.first <= cover.last and cover.first <= one.last)
            is_sure = len(about) == 1 and {one.era for one in beside} - {None} == {cover.era}
            is_sure = is_sure and about[0].after < cover.first and cover.last <= about[0].until
            is_sure = is_sure and about[0].job.max_runs is None
            if hits > cover.count or is_sure:  # otherwise more times may have been due than the certain ones
                what, other = ("hole", hits - cover.count) if hits > cover.count else ("double", cover.count - hits)
                cause = f"{run} counts {cover.count} of {hits} due times that have no other record"
                yield DueFinding(what, cover.first, cover.last, other, (cover.number,), cause)
