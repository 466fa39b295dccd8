"""Checks of schedules against the calendar, clock changes, other jobs' schedules, and run durations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path

from jobqueued.base.instants import DAY, to_datetime, to_text
from jobqueued.base.problem import Problem
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.recollection import usual_of
from jobqueued.core.records.record_checks import Damaged
from jobqueued.ctl.base.terminal import local
from jobqueued.jobfile.types.spelling import spelled_duration
from jobqueued.model.catalog import written_in
from jobqueued.model.job import Job, Overlap
from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files
from jobqueued.timing.clock_changes import ClockChange, next_changes
from jobqueued.timing.schedule import Schedule, Seconds

MANY = 10
"""Minimum number of jobs that start at the same time to cause a note."""
ENOUGH = 5
"""Minimum number of runs with a known duration to calculate a usual duration."""
_RUNS, _STARTS, _OFTEN, _NAMED = 10, 30, 6, 5
_RARE = 367 * DAY
_WHOLE_DAY = (1 << 24) - 1
_UNUSUAL = {
    Overlap.QUEUE: "later runs wait, and runs beyond `max_waiting` are skipped",
    Overlap.SKIP: "later runs are skipped",
    Overlap.REPLACE: "each run stops the one before it",
}
Usual = Callable[[str], int | None]
"""Returns the usual duration (ns) of a job's runs, or None if unknown."""


class _Holder(NamedTuple):
    job: Job
    usual: int
    interval: int


def rhythms(jobs: Iterable[Job], now: int, usual: Usual) -> Iterator[Problem]:
    """Yield a warning or note for each odd schedule, at its job's line. Ignore disabled jobs."""
    jobs = [job for job in jobs if job.enabled]
    for job in jobs:
        yield from (_about(job, "JQ303", "schedule", text) for text in _rarely(job, now))
        yield from (_about(job, "JQ306", "schedule", text, "note") for text in _of_changes(job, to_datetime(now)))
        yield from (_about(job, "JQ308", "schedule", text) for text in _too_long(job, now, usual))
    yield from _together(jobs, now)
    yield from _starved(jobs, now, usual)


def usual_times(paths: Paths) -> Usual:
    """Return a function that returns the usual duration of a job's runs, based on the job's newest readable records."""

    @cache
    def usual(job: str) -> int | None:
        numbers = record_files.numbers(paths.logs, job)[: -_RUNS - 1 : -1]
        return usual_of(_readable(paths.logs, job, numbers), ENOUGH) if len(numbers) >= ENOUGH else None

    return usual


def _readable(logs: Path, job: str, numbers: Iterable[int]) -> Iterator[Record]:
    for number in numbers:
        with suppress(Damaged, OSError):
            yield record_files.checked(logs, RunId(job, number))


def _about(job: Job, code: str, key: str, message: str, severity: str = "warning") -> Problem:
    return Problem(written_in(job), job.line, 0, key, message, severity, job.id, code)


def _schedules(job: Job) -> list[Schedule]:
    triggers = (trigger.schedule if isinstance(trigger, Seconds) else trigger for trigger in job.triggers)
    return [trigger for trigger in triggers if isinstance(trigger, Schedule) and not trigger.at_boot]


def _rarely(job: Job, now: int) -> Iterator[str]:
    """Yield a message if the next starts of a schedule are more than a year away or apart."""
    if not _schedules(job) or job.every is not None or job.at is not None or job.on or job.at_boot:
        return
    first, second, *_ = [*job.next_starts(now, 2), None, None]
    if first is not None and (first - now > _RARE or (second is not None and second - first > _RARE)):
        then = "" if second is None else f", then {local(to_text(second))}"
        yield f"found rare starts: {local(to_text(first))}{then}; keep them if they are intended, or choose another day"


def _of_changes(job: Job, now: datetime) -> Iterator[str]:
    """Yield messages about times of day that the next clock changes skip or repeat, and about the resulting starts."""
    for schedule in _schedules(job):
        told = [
            _of_change(schedule, change, match)
            for change in next_changes(schedule.timezone, now.replace(minute=0, second=0, microsecond=0))
            if (match := schedule.first_within(change.begin, change.end)) and not _goes_on(schedule)
        ]
        if told:
            yield f"found `{schedule.expression}` in {schedule.timezone}: {'; '.join(told)} (dst: {job.dst})"


def _goes_on(schedule: Schedule) -> bool:
    """Return whether a schedule has starts in every hour and counts elapsed time, so clock changes do not matter."""
    return not schedule.is_fixed and schedule.times_of_day[1] == _WHOLE_DAY and not schedule.starts_in_gaps


def _of_change(schedule: Schedule, change: ClockChange, match: datetime) -> str:
    when = f"{match:%H:%M} {'does not exist' if change.skips else 'occurs twice'} on {match:%Y-%m-%d}"
    if not change.skips:
        return f"{when}, and the job starts {'both times' if schedule.starts_twice else 'the first time only'}"
    return f"{when}, and the job {f'starts at {change.end:%H:%M}' if schedule.starts_in_gaps else 'does not start'}"


def _too_long(job: Job, now: int, usual: Usual) -> Iterator[str]:
    """Yield a message if a job's runs usually take longer than the time between its starts."""
    interval, took = _interval(job, now), usual(job.id)
    if interval is None or took is None or took < interval * job.concurrency:
        return
    found = (
        f"found runs that usually take {spelled_duration(took)}, but only {spelled_duration(interval)} between starts"
    )
    yield f"{found}, so {_UNUSUAL[job.overlap]}; leave more time between starts, or raise `concurrency`"


def _interval(job: Job, now: int) -> int | None:
    """Return the shortest interval (ns) between consecutive future starts, or None if there are fewer than two."""
    return min((later - sooner for sooner, later in pairwise(job.next_starts(now, _RUNS))), default=None)


def _together(jobs: list[Job], now: int) -> Iterator[Problem]:
    """Yield a note about the instant with the most starts, if many jobs start at once."""
    at: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        schedules = _schedules(job)
        seldom = all(schedule.times_of_day[0].bit_count() <= _OFTEN for schedule in schedules)
        if schedules and seldom and not job.offset and not any(schedule.is_drawn for schedule in schedules):
            for start in job.next_starts(now, _STARTS):
                at[start].append(job)
    instant, found = max(at.items(), key=lambda item: (len(item[1]), -item[0]), default=(0, []))
    if len(found) >= MANY:
        yield _about(found[0], "JQ307", "schedule", _crowd(instant, found), "note")


def _crowd(instant: int, found: list[Job]) -> str:
    names, more = [job.id for job in found[:_NAMED]], len(found) - _NAMED
    remedy = "`spread: 15m`, or H in the minute field, if the exact time does not matter"
    crowd = f"{', '.join(names)} and {more} more"
    return f"found {len(found)} jobs that start at {local(to_text(instant))}, {crowd}; use {remedy}"


def _starved(jobs: list[Job], now: int, usual: Usual) -> Iterator[Problem]:
    """Yield a warning for each lock that may be held all the time by shared holders without a `timeout`.

    A run that needs the lock exclusively may then never start, because its reservation lapses after its job's `drain`.
    """
    shared: dict[str, list[_Holder]] = defaultdict(list)
    for job in jobs:
        names = [claim.resource for claim in job.locks if not claim.exclusive and not claim.units]
        interval = _interval(job, now) if names and job.timeout is None else None
        took = None if interval is None else usual(job.id)
        if interval is not None and took is not None:
            for name in names:
                shared[name].append(_Holder(job, took, interval))
    for job in jobs:
        for name in (claim.resource for claim in job.locks if claim.exclusive):
            holders = [holder for holder in shared[name] if holder.usual > job.drain]
            if sum(holder.job.concurrency for holder in holders) > 1 and _load(holders) >= 1:
                yield _about(job, "JQ405", "locks", _without_pause(job, name, holders))


def _load(holders: list[_Holder]) -> float:
    """Return the mean number of live runs of these jobs; each job counts at most its `concurrency`."""
    return sum(min(holder.usual / holder.interval, holder.job.concurrency) for holder in holders)


def _without_pause(job: Job, name: str, holders: list[_Holder]) -> str:
    names = ", ".join(holder.job.id for holder in holders[:_NAMED])
    found = (
        f"found that {names} share {name} without a pause or `timeout`, usually for longer than the `drain` of this job"
    )
    remedy = "a `timeout` for the jobs that share it, or a longer `drain`"
    return f"{found} ({spelled_duration(job.drain)}), so the lock might never be free; use {remedy}"
