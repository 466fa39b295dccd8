"""Suggestions: small changes that shorten waits; each is simulated before it is suggested.

The possible changes are: a job starts later, by its usual wait; `spread` for jobs that wait for the same resource; and
a larger `max_running`. The purpose of a lock is unknown, so a lock that delays runs is only reported
(`summary.lacked`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.base.replace import changed
from jobqueued.base.text import duration
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.foresight.durations import Chance
from jobqueued.foresight.futures import HostSnapshot, play
from jobqueued.foresight.partition import groups
from jobqueued.foresight.summary import JobFigures
from jobqueued.foresight.tally import Tally
from jobqueued.model.job import Job
from jobqueued.queue.locks import SLOT
from jobqueued.timing.schedule import Schedule, offset

TRIED = 8
"""Maximum number of changes to try."""
_ENOUGH = 0.8
"""Fraction to which a change must reduce the total wait to count as helpful."""
_ROUND = 5 * MINUTE
_SPREAD, _MANY = 10 * MINUTE, 3
"""The suggested `spread` (ns), and the minimum number of jobs that wait for the same resource."""


class SuggestedChange(NamedTuple):
    """A change to some jobs, or to the host if `jobs` is empty, and the text to write into the file.

    `apply` makes the change.
    """

    jobs: tuple[str, ...]
    text: str
    apply: Callable[[HostSnapshot], HostSnapshot]


class Cost(NamedTuple):
    """The number of missed deadlines and the wait (ns), as means over all futures."""

    missed: float
    waited: float

    def is_worse_than(self, other: Cost) -> bool:
        """Return whether the other cost is so much lower that the change is worthwhile."""
        saved = self.waited - other.waited
        much = saved >= MINUTE and other.waited <= _ENOUGH * self.waited
        return other.missed < self.missed or (other.missed == self.missed and much)


class Suggestion(NamedTuple):
    """A change that helps, with the costs before and after the change for all jobs that it may affect."""

    change: SuggestedChange
    before: Cost
    after: Cost


def suggestions(
    host: HostSnapshot,
    until: int,
    rows: Sequence[JobFigures],
    chances: Sequence[Chance],
    seed: str,
    progress: Callable[[float], None] = lambda _: None,
) -> list[Suggestion]:
    """Try changes for the jobs that wait most (`rows`); return the changes that help, the best first.

    `seed` determines each job's delay in a `spread`.
    """
    found = list[Suggestion]()
    parts = groups(host.jobs, host.limits)
    for number, change in enumerate(islice(changes(host, rows, seed), TRIED)):
        ids = {job.id for part in parts if not change.jobs or {job.id for job in part} & {*change.jobs} for job in part}
        futures, others = (play(part, until, chances) for part in (_only(host, ids), _only(change.apply(host), ids)))
        before, after = _cost(futures), _cost(others)
        if before.is_worse_than(after) and _due(others, change.jobs) >= _due(futures, change.jobs):
            found.append(Suggestion(change, before, after))
        progress((number + 1) / TRIED)
    return sorted(found, key=lambda it: (it.after.missed - it.before.missed, it.after.waited - it.before.waited))


def _only(host: HostSnapshot, ids: Iterable[str]) -> HostSnapshot:
    known = set(ids)
    return host.with_jobs([job for job in host.jobs if job.id in known])


def _cost(futures: Sequence[Tally]) -> Cost:
    count = len(futures)
    return Cost(sum(it.missed for it in futures) / count, sum(it.waited for it in futures) / count)


def _due(futures: Sequence[Tally], jobs: Iterable[str]) -> int:
    """Return the number of occurrences of these jobs. A change that moves occurrences past the end of the simulation
    only seems to help.
    """
    found = [future.of(job) for future in futures for job in jobs]
    return sum(it.runs + it.waiting + it.skipped.total() for it in found)


def changes(host: HostSnapshot, rows: Sequence[JobFigures], seed: str) -> Iterator[SuggestedChange]:
    """Yield changes that may help the jobs that wait most, the most promising first."""
    jobs = {job.id: job for job in host.jobs}
    waiting = [(jobs[row.job], row) for row in rows if (row.late.most or row.missed.most) and row.job in jobs]
    if host.limits.max_running is not None and any(_lacks(row, SLOT.removeprefix(":")) for _, row in waiting):
        yield _more_slots(host.limits.max_running)
    for lacked in dict.fromkeys(blame.lacked for _, row in waiting for blame, _ in row.blamed[:1]):
        alike = [job for job, row in waiting if _lacks(row, lacked) and _may_be_spread(job)]
        if len(alike) >= _MANY:
            yield _spread(alike, seed)
    for job, row in waiting:
        missed = job.start_deadline if row.missed.most else None  # a missed start waited this long
        if (later := _later(job, max(row.most, row.longest // 2, missed or MINUTE))) is not None:
            yield later


def _lacks(row: JobFigures, what: str) -> bool:
    return bool(row.blamed) and row.blamed[0][0].lacked == what


def _more_slots(most: int) -> SuggestedChange:
    more = most + max(1, most // 4)
    text = f"max_running: {more} in jobqueued.yaml, instead of {most}"
    return SuggestedChange((), text, lambda host: replace(host, limits=host.limits._replace(max_running=more)))


def _may_be_spread(job: Job) -> bool:
    """Return whether a job has no `spread`, and its due times are at least three times the suggested `spread` apart."""
    if job.spread or not job.triggers:
        return False
    first = job.next_after(DAY)
    second = None if first is None else job.next_after(first)
    return first is not None and (second is None or second - first >= 3 * _SPREAD)


def _spread(jobs: Sequence[Job], seed: str) -> SuggestedChange:
    names = tuple(job.id for job in jobs)
    new = {job.id: changed(job, spread=_SPREAD, offset=offset(_SPREAD, job.id, seed)) for job in jobs}
    return SuggestedChange(names, f"spread: {_SPREAD // MINUTE}m", lambda host: _with(host, new))


def _with(host: HostSnapshot, new: dict[str, Job]) -> HostSnapshot:
    return host.with_jobs([new.get(job.id, job) for job in host.jobs])


def _later(job: Job, wait: int) -> SuggestedChange | None:
    """Return a change that starts a job later by its usual wait, or None if the job can't be moved.

    Only jobs that start once an hour or once a day can be changed.
    """
    texts = job.schedule[0].split() if len(job.schedule) == 1 else []
    if len(texts) != 5 or not texts[0].isdecimal() or job.seconds is not None or job.every is not None:
        return None
    minutes = int(texts[0]) + -(-wait // _ROUND) * (_ROUND // MINUTE)
    if minutes >= HOUR // MINUTE:
        if not texts[1].isdecimal() or int(texts[1]) + minutes // 60 > 23:
            return None
        texts[1] = str(int(texts[1]) + minutes // 60)
    expression = " ".join([str(minutes % 60), *texts[1:]])
    new = changed(job, schedule=(expression,), triggers=(Schedule(expression, job.timezone, job.id, job.dst),))
    return SuggestedChange((job.id,), f'schedule: "{expression}"', lambda host: _with(host, {job.id: new}))


def words(it: Suggestion) -> str:
    """Describe the effect of a change: ``20 min less waiting``."""
    saved = it.before.waited - it.after.waited
    more = "less" if saved > 0 else "more"
    told = [f"{duration(abs(saved) / SECOND)} {more} waiting"] if abs(saved) >= SECOND else []
    if it.after.missed < it.before.missed:
        told.append(f"{it.before.missed:g} missed deadlines become {it.after.missed:g}")
    return ", ".join(told)
