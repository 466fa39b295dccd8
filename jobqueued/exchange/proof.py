"""The proof that a written job behaves like its source.

It compares fields, and due times that are computed in two ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import takewhile
from typing import Any

from jobqueued.base.instants import Trigger
from jobqueued.base.problem import Problem
from jobqueued.exchange.draft import DIFFERS, JobDraft
from jobqueued.exchange.reckoning import changes, due_times, first
from jobqueued.model.job import Claim, Job
from jobqueued.timing.schedule import Schedule

INSTANTS = 1000
"""Number of due times to compare, from the start on."""
YEARS = 2
"""Number of years in which the days around each clock change are also compared."""
_AROUND = timedelta(hours=26)
_NOT_SAID = frozenset(
    (
        "id",
        "file",
        "line",
        "origin",
        "drop_ins",
        "triggers",
        "offset",
        "at_boot",
        "description",
        "asks_pam",
        "outlasts_steps",
    )
)
"""Fields that may differ between source and job: names, values derived from names, and values that are compared in
another way.
"""


def check(drafts: Iterable[JobDraft], jobs: Iterable[Job], now: datetime) -> Iterator[tuple[JobDraft, str]]:
    """Yield each draft whose meaning differs from the job that was read back, with a description of the difference."""
    found = {job.id: job for job in jobs}
    for draft in drafts:
        job = found.get(draft.id)
        if job is None:
            yield draft, "is missing in the written file"
            continue
        yield from ((draft, text) for text in _of_fields(draft.means, job))
        if text := _of_times(draft.means, job, now):
            yield draft, text


def problems(file: str, differences: Iterable[tuple[JobDraft, str]]) -> list[Problem]:
    """Return the differences as problems in a source."""
    return [
        Problem(file, draft.line, 0, "", f"differs: {text}", "error", draft.id, DIFFERS) for draft, text in differences
    ]


def _of_fields(means: Job, job: Job) -> Iterator[str]:
    for field in fields(Job):
        if field.name not in _NOT_SAID and (one := _plain(means, field.name)) != (other := _plain(job, field.name)):
            yield f"{field.name} is {other!r} and was {one!r}"
    if means.at_boot != job.at_boot:
        yield "starts at boot" if job.at_boot else "does not start at boot"


def _plain(job: Job, name: str) -> Any:
    """Return a field's value without irrelevant details, such as the order of variables, or the variable SHELL."""
    value = getattr(job, name)
    if name == "environment":
        return {key: text for key, text in value if (key, text) != ("SHELL", job.shell)}
    if isinstance(value, StrEnum):
        return value.value
    if name == "locks":
        return {claim._replace(resource=_lock(claim)) for claim in value}
    return value


def _lock(claim: Claim) -> str:
    return claim.resource if claim.resource.startswith("/") else claim.resource.replace("/", "-")


def _of_times(means: Job, job: Job, now: datetime) -> str:
    """Describe the first due time that differs from the times computed from the source alone, or return "" if none
    differs.
    """
    for begin, end in windows((means.timezone,), now):
        wanted, got = _wanted(means, job, begin, end), times_of(clock_of(job), begin, end)
        if (place := differs_at(wanted, got, end)) is not None:
            one, other = (f"{times[place]}" if place < len(times) else "never" for times in (got, wanted))
            return f"is due {one}, but its source is due {other}"
    return ""


def windows(zones: Iterable[str], now: datetime) -> Iterator[tuple[datetime, datetime | None]]:
    """Yield the periods for the comparison of due times: (now, None) for the first due times, and the periods around
    clock changes.
    """
    yield now, None
    for zone in sorted({*zones}):
        yield from ((at - _AROUND, at + _AROUND) for at in changes(zone, now, YEARS))


def differs_at(wanted: Sequence[datetime], got: Sequence[datetime], end: datetime | None) -> int | None:
    """Return the index of the first difference between two lists of due times, or None if they are equal."""
    if end is None:
        got = got[: len(wanted)]  # the job's due times continue after the computed times
    pairs = enumerate(zip(wanted, got, strict=False))
    if (place := next((n for n, (one, other) in pairs if one != other), None)) is not None:
        return place
    return None if len(wanted) == len(got) else min(len(wanted), len(got))


def _wanted(means: Job, job: Job, begin: datetime, end: datetime | None) -> tuple[datetime, ...]:
    """Return the due times computed from the source; for `H`, use the numbers that the job drew."""
    clock = [text for text in means.schedule if text != "@reboot"]
    if not clock:
        return times_of(clock_of(means), begin, end)
    own = {it.expression: it.in_numbers for it in job.triggers if isinstance(it, Schedule) and it.is_drawn}
    seconds = means.seconds or "0"
    parts = [reckoned(own.get(text, text), means.timezone, means.dst, begin, end, seconds) for text in clock]
    return tuple(sorted(set().union(*parts)))[: None if end else INSTANTS]


@lru_cache(maxsize=4096)
def reckoned(
    text: str, zone: str, dst: str, begin: datetime, end: datetime | None, seconds: str = "0"
) -> tuple[datetime, ...]:
    """Return the computed due times of a line after an instant, up to `end`; if `end` is None, return the first
    INSTANTS.
    """
    if end is None:
        return tuple(first(text, zone, begin, INSTANTS, dst, seconds))
    return tuple(takewhile(end.__ge__, due_times(text, zone, begin, dst, seconds)))


def clock_of(job: Job) -> tuple[Trigger, ...]:
    """Return a job's triggers.

    Remove the job's ID from each schedule without an `H`, so that equal jobs share cached times.
    """
    return tuple(
        replace(trigger, job_id="") if isinstance(trigger, Schedule) and not trigger.is_drawn else trigger
        for trigger in job.triggers
    )


@lru_cache(maxsize=4096)
def times_of(clock: tuple[Trigger, ...], begin: datetime, end: datetime | None) -> tuple[datetime, ...]:
    """Return the due times after an instant, up to `end`; if `end` is None, return the first INSTANTS."""
    found, due = list[datetime](), begin
    while end is not None or len(found) < INSTANTS:
        times = [at for at in (trigger.after(due) for trigger in clock) if at is not None]
        if not times or (end is not None and min(times) > end):
            break
        found.append(due := min(times))
    return tuple(found)
