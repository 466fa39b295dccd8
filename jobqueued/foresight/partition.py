"""Groups of independent jobs, which can be simulated separately, because no job ever waits for a job in another group.

Jobs depend on each other if they claim the same resource, or if one job reacts to the other job's end. If the host has
a `max_running` or an exclusive job, all jobs share a resource. Jobs with the same limited tag share one, too.

The result is slightly inexact: on the real host, only one run is the first waiting run, which reserves all its claims
(queue/admission.py). In separate simulations, each group has a first waiting run. The difference matters to runs that
need two scarce resources.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from jobqueued.core.records.host_limits import HostLimits
from jobqueued.foresight.durations import Durations
from jobqueued.model.job import Job
from jobqueued.model.run_states import RunState
from jobqueued.model.saved import SavedJob
from jobqueued.model.users import budget_of
from jobqueued.queue.locks import HOST


def groups(jobs: Sequence[Job], limits: HostLimits) -> list[tuple[Job, ...]]:
    """Return the independent groups of these jobs, in the jobs' order."""
    parents = {job.id: job.id for job in jobs}

    def root(name: str) -> str:
        while parents[name] != name:
            parents[name] = name = parents[parents[name]]
        return name

    first, has_exclusive = dict[str, str](), any(job.exclusive for job in jobs)
    for job in jobs:
        for thing in _things(job, limits, has_exclusive=has_exclusive):
            parents[root(job.id)] = root(first.setdefault(thing, job.id))
        for other in _heard(job, parents):
            parents[root(job.id)] = root(other)
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(root(job.id), []).append(job)
    return [tuple(group) for group in found.values()]


def influencing(jobs: Sequence[Job], limits: HostLimits, names: Iterable[str]) -> tuple[Job, ...]:
    """Return the jobs that can affect the runs of `names`, including these jobs, in the jobs' order.

    A job that only reacts to the ends of others affects none of them.
    """
    known, has_exclusive = {job.id: job for job in jobs}, any(job.exclusive for job in jobs)
    sharing = dict[str, list[str]]()
    for job in jobs:
        for thing in _things(job, limits, has_exclusive=has_exclusive):
            sharing.setdefault(thing, []).append(job.id)
    found, todo = set[str](), [name for name in names if name in known]
    while todo:
        if (name := todo.pop()) in found:
            continue
        found.add(name)
        todo += _heard(known[name], known)
        for thing in _things(known[name], limits, has_exclusive=has_exclusive):
            todo += sharing.pop(thing, ())
    return tuple(job for job in jobs if job.id in found)


def _things(job: Job, limits: HostLimits, *, has_exclusive: bool) -> Iterator[str]:
    """Yield the names of the resources and limits that a job may share with other jobs."""
    yield from (claim.resource for claim in limits.claims_of(job) if has_exclusive or claim.resource != HOST)
    if limits.most_of_a_user is not None and budget_of(job.id):
        yield f":user {budget_of(job.id)}"


def _heard(job: Job, known: Collection[str]) -> Iterator[str]:
    """Yield the jobs whose ends a job reacts to."""
    names = [*job.dependencies, *(on.name for on in job.on if on.kind == "job")]
    yield from (name for name in names if name in known)
    for on in job.on:
        if on.kind == "jobs":
            yield from (name for name in known if fnmatchcase(name, on.name))


def is_plain(job: Job, limits: HostLimits, durations: Durations, saved: Mapping[str, SavedJob]) -> bool:
    """Return whether a job is plain: each run starts as soon as it is due and its claims are free, and ends without a
    retry.

    A caller that checks all jobs in a group also makes sure that no job reacts to another job's end.
    """
    if job.dependencies or job.on or job.max_runs is not None or job.rate is not None or job.submission is not None:
        return False
    if limits.most_of_a_user is not None and budget_of(job.id):
        return False
    known = saved.get(job.id)
    if known is not None and (known.paused or known.skips or known.satisfied or known.settled):
        return False
    ends_well = all(sample.state == RunState.SUCCEEDED for sample in durations.of(job))
    return ends_well or not (job.retries or job.failover)
