"""Statistics of a job's runs: number, success rate, durations and their trend, CPU time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jobqueued.base.text import duration
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.run_states import LIVE, PENDING, RunState

_ENOUGH = 9
"""Minimum number of successful runs for a trend: three in each third."""
_STEADY = 0.1
"""Maximum relative change in a steady trend."""


class Trend(NamedTuple):
    """The median durations (s) of the oldest and the newest third of the successful runs."""

    before: float
    now: float

    def __str__(self) -> str:
        if abs(self.now - self.before) <= _STEADY * self.before:
            return "steady"
        word = "slower" if self.now > self.before else "faster"
        return f"{word}: {duration(self.before)} → {duration(self.now)}"

    @property
    def word(self) -> str:
        """The direction of the trend: steady, slower or faster."""
        return str(self).partition(":")[0]


class Stats(NamedTuple):
    """The statistics of a job: the numbers of ended `runs`, of runs that `succeeded`, and of `skipped` occurrences.

    `p50` and `p95` are durations (s) of successful runs, or None if there are none. `cpu` is the CPU time (s) of all
    runs with known usage, or None if there are none.
    """

    job: str
    runs: int
    succeeded: int
    skipped: int
    p50: float | None
    p95: float | None
    trend: Trend | None
    cpu: float | None
    since: str
    until: str

    @property
    def rate(self) -> float | None:
        """The share of successful runs, or None if there are no runs."""
        return self.succeeded / self.runs if self.runs else None

    @property
    def document(self) -> dict[str, Any]:
        """The statistics as JSON, with durations in seconds."""
        trend = self.trend and {**self.trend._asdict(), "word": self.trend.word}
        hours = None if self.cpu is None else round(self.cpu / 3600, 6)
        own = {name: value for name, value in self._asdict().items() if name != "cpu"}
        return {**own, "success_rate": self.rate, "trend": trend, "cpu_hours": hours}


def stats_of(found: Iterable[Record]) -> list[Stats]:
    """Return the statistics of each job, sorted by id, from records (newest first). Unfinished runs do not count."""
    jobs = dict[str, list[Record]]()
    for record in found:
        if record["state"] not in LIVE | PENDING:
            jobs.setdefault(record["job"], []).append(_light(record))
    return [_of_job(job, jobs[job]) for job in sorted(jobs)]


def _light(record: Record) -> Record:
    """Return a record without large fields."""
    names = ("job", "state", "started", "ended", "queued", "cpu_user", "cpu_system", "attempts", "count")
    light: Any = {name: record[name] for name in names if name in record}  # type: ignore[literal-required]
    light["attempts"] = [{name: it.get(name) for name in ("cpu_user", "cpu_system")} for it in light["attempts"]]
    return light  # type: ignore[no-any-return]


def _of_job(job: str, found: Sequence[Record]) -> Stats:
    ran = [record for record in found if record["state"] != RunState.SKIPPED]
    succeeded = [record for record in ran if record["state"] == RunState.SUCCEEDED]
    took = [known for record in succeeded if (known := took_of(record)) is not None]
    used = [known for record in ran if (known := cpu_of(record)) is not None]
    skipped = sum(record.get("count", 1) for record in found if record["state"] == RunState.SKIPPED)
    return Stats(
        job,
        len(ran),
        len(succeeded),
        skipped,
        percentile(took, 50),
        percentile(took, 95),
        trend_of(took),
        sum(used) if used else None,
        found[-1]["queued"],
        found[0]["queued"],
    )


def hours(cpu: float) -> str:
    """Format CPU time (s) as hours: ``1.25``, ``<0.01``."""
    return f"{cpu / 3600:,.2f}" if not 0 < cpu < 18 else "<0.01"


def took_of(record: Record) -> float | None:
    """Return the seconds from start to end, or None if unknown."""
    if not (record["started"] and record["ended"]):
        return None
    begin, end = (datetime.fromisoformat(text) for text in (record["started"], record["ended"]))
    return max(0.0, (end - begin).total_seconds())


def cpu_of(record: Record) -> float | None:
    """Return the CPU time of all attempts (s), or None if unknown for every attempt."""
    attempts: Sequence[Mapping[str, Any]] = record["attempts"]
    used = [(it.get("cpu_user"), it.get("cpu_system")) for it in attempts or [record]]
    known = [(user or 0.0) + (system or 0.0) for user, system in used if user is not None or system is not None]
    return sum(known) if known else None


def percentile(values: Sequence[float], part: int) -> float | None:
    """Return the nearest-rank percentile `part` (%) of the values, or None if there are no values."""
    if not values:
        return None
    return sorted(values)[max(0, -(-len(values) * part // 100) - 1)]


def trend_of(took: Sequence[float]) -> Trend | None:
    """Return the trend of durations (newest first), or None if there are too few durations."""
    if len(took) < _ENOUGH:
        return None
    third = len(took) // 3
    before, now = percentile(took[-third:], 50), percentile(took[:third], 50)
    return None if before is None or now is None else Trend(before, now)
