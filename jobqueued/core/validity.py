"""What makes a job invalid on this host, whatever its file says: jobs and resources that there are not, cycles.

It is judged anew whenever something changes that it depends on; a job's file is never refused for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobqueued.catalog import Change, awaited
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.jobfile.spelling import nearest
from jobqueued.model import CPU, MEMORY, Claim, Job

MANY = 200
"""Among more jobs nobody looks for one of a similar name: that takes long, and the daemon has other things to do."""


def verdicts(book: SchedulerState, names: Iterable[str] | None) -> Iterator[tuple[Job, str]]:
    """Why each of these jobs (None: of all) can't run on this host as things stand; "" where nothing is known.

    Circles concern others too: where somebody waits for somebody all that are in one, or were, are judged.
    """
    jobs = [job for name in names if (job := book.catalog.get(name))] if names is not None else list(book.catalog)
    circles: dict[str, tuple[str, ...]] = {}
    if any(map(awaited, jobs)):
        circles = book.catalog.circles()
        others = {*circles, *book.troubled} - {job.id for job in jobs}
        jobs += [job for name in sorted(others) if (job := book.catalog.get(name))]
    for job in jobs:
        yield job, _impossible(book, job) or _unknown(book, job) or _circular(circles.get(job.id, ()))


def to_be_judged(book: SchedulerState, change: Change) -> Iterator[str]:
    """The ids of the jobs of which a change of definitions may have changed the verdict."""
    yield from (job.id for job in (*change.added, *change.edited))
    for job in (*change.added, *change.edited, *change.removed):
        yield from book.catalog.dependents(job.id)
        yield from (found.id for found in book.catalog.listeners("job", job.id))
    if any(map(awaited, change.removed)):
        yield from book.troubled


def _unknown(book: SchedulerState, job: Job) -> str:
    for name in awaited(job):
        if name not in book.catalog:
            near = nearest(name, [known.id for known in book.catalog]) if len(book.catalog) <= MANY else ""
            return f"it depends on {name}, and there is no such job" + (f"; did you mean {near}?" if near else "")
    return ""


def _circular(way: tuple[str, ...]) -> str:
    return f"it depends on itself: {' → '.join(way)}" if way else ""


def _impossible(book: SchedulerState, job: Job) -> str:
    unknown = next((claim for claim in job.resources if claim.resource not in book.limits.resources), None)
    claim = unknown or book.admission.locks.impossible(book.terms(job).claims)
    return "" if claim is None else impossible(claim, book.limits.resources)


def impossible(claim: Claim, resources: dict[str, int]) -> str:
    """What is said of a claim for more units than there are, with the remedy."""
    name, there = claim.resource, resources.get(claim.resource)
    if name in (CPU, MEMORY):
        units = f"{claim.units / 1000:g}" if name == CPU else f"{-(-claim.units // (1 << 20))}M"
        asked, given = amount(name, claim.units), amount(name, there or 0)
        remedy = f"to give out more all the same: resources: {{{name}: {units}}} in jobqueued.yaml"
        return f"impossible: it asks for {asked}, and jobs have {given} here; {remedy}"
    remedy = f"to have more: resources: {{{name}: {claim.units}}} in jobqueued.yaml"
    if there is None:
        near = nearest(name, [known for known in resources if known not in (CPU, MEMORY)] or [""])
        remedy = f"did you mean {near}? {remedy}" if near else remedy
        return f"impossible: it asks for {claim.units} of {name}, of which this host has none; {remedy}"
    return f"impossible: it asks for {claim.units} of {name}, of which there are {there}; {remedy}"


def amount(resource: str, units: int) -> str:
    """Units of a resource, for people: ``0.5 CPUs``, ``400 MiB``, ``2 of gpu``."""
    if resource == CPU:
        return f"{units / 1000:g} CPU" + "s" * (units != 1000)
    if resource == MEMORY:
        return _bytes(units)
    return f"{units} of {resource}"


def _bytes(size: int) -> str:
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= length:
            return f"{size / length:.4g} {unit}"
    return f"{size} B"
