"""Validity: reasons outside a job's file that keep the job from running on this host.

The scheduler rejudges a job after every change that may affect it. A reason outside the job file never makes the file
invalid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobqueued.base.text import size
from jobqueued.core.state.job_state import Invalidity, JobFault
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.core.state.turn import Turn
from jobqueued.jobfile.types.spelling import nearest
from jobqueued.model.catalog import CatalogChange, awaited, written_in
from jobqueued.model.fleet import FLEET, MOST_AT_ONCE, Part
from jobqueued.model.job import CORE, CPU, MEMORY, Claim, Job, Scope
from jobqueued.queue.locks import asks_fleet, of_fleet

NO_SLURM = (
    "it runs on Slurm, and this host has no sbatch(1) to submit with; to add it: Debian's slurm-client, and a restart "
    "of the daemon"
)
MANY = 200
"""Maximum number of names to search for a similar name; more would keep the daemon busy."""


def judge(turn: Turn) -> None:
    """Judge the jobs in the agenda, log which became invalid (once for a cycle) or valid, and mark their due runs for a
    check.
    """
    state, said = turn.state, set[str]()
    unjudged = state.agenda.take_unjudged()
    for job, invalid in [] if unjudged == {} else verdicts(state, unjudged):
        before, state[job.id].invalid = state[job.id].invalid, invalid
        if invalid is None:
            state.invalid_jobs.discard(job.id)
        else:
            state.invalid_jobs.add(job.id)
        if invalid == before:
            continue
        state.mark_for_check(job.id)
        if not state.invalid(job):
            turn.say("job_valid", job=job.id)
        elif invalid is None:
            say_invalid(turn, job, state.invalid(job))
        elif invalid.fault is not JobFault.CYCLIC or invalid.text not in said:
            said.add(invalid.text)
            say_invalid(turn, job, invalid.text)


def say_invalid(turn: Turn, job: Job, reason: str) -> None:
    """Log that a job is invalid, with the reason."""
    turn.say("job_invalid", job=job.id, reason=reason, file=written_in(job), line=job.line)


def verdicts(state: SchedulerState, names: Iterable[str] | None) -> Iterator[tuple[Job, Invalidity | None]]:
    """Yield each of these jobs with the reason why it can't run on this host now, or None if it can; `names` None means
    all jobs.

    If any of these jobs depends on another job, also yield all jobs that are in a cycle or were invalid.
    """
    jobs = [job for name in names if (job := state.catalog.get(name))] if names is not None else list(state.catalog)
    cycles: dict[str, str] = {}
    if any(map(awaited, jobs)):
        cycles = state.catalog.cycles()
        others = {*cycles, *state.invalid_jobs} - {job.id for job in jobs}
        jobs += [job for name in sorted(others) if (job := state.catalog.get(name))]
    for job in jobs:
        of_others = _unknown(state, job) or _elsewhere(state, job) or _cyclic(cycles.get(job.id, ""))
        yield job, _impossible(state, job) or of_others


def to_be_judged(state: SchedulerState, change: CatalogChange) -> Iterator[str]:
    """Yield the IDs of the jobs that a change of definitions may have made valid or invalid."""
    yield from (job.id for job in (*change.added, *change.edited))
    for job in (*change.added, *change.edited, *change.removed):
        yield from state.catalog.dependents(job.id)
        yield from (found.id for found in state.catalog.listeners("job", job.id))
    if any(map(awaited, change.removed)):
        yield from state.invalid_jobs


def _unknown(state: SchedulerState, job: Job) -> Invalidity | None:
    name = next((name for name in awaited(job) if name not in state.catalog), None)
    if name is None or not state.complete:
        return None
    others = [known.id for known in state.catalog if known.owner == job.owner]
    near = nearest(name, others) if len(state.catalog) <= MANY else ""
    hint = f"; did you mean {near}?" if near else ""
    return Invalidity(JobFault.UNKNOWN_JOB, f"it depends on job {name}, which does not exist{hint}")


def _elsewhere(state: SchedulerState, job: Job) -> Invalidity | None:
    """Return a fault if a job depends on a fleet job, because its runs may be on other hosts; otherwise return None."""
    others = (state.catalog[name] for name in awaited(job) if name in state.catalog)
    other = next((other for other in others if other.scope is Scope.FLEET), None)
    if other is None:
        return None
    why = "whose runs might be on other hosts"
    return Invalidity(JobFault.ELSEWHERE, f"it depends on job {other.id}, {why} (`scope: fleet`)")


def _cyclic(way: str) -> Invalidity | None:
    return Invalidity(JobFault.CYCLIC, f"it depends on itself: {way}") if way else None


def _impossible(state: SchedulerState, job: Job) -> Invalidity | None:
    if asks_fleet(job) and not state.limits.fleet:
        remedy = "to join one: `fleet: {etcd: …}` in jobqueued.yaml"
        return Invalidity(JobFault.IMPOSSIBLE, f"it needs a fleet of hosts, but this host belongs to none; {remedy}")
    if job.runner == "slurm" and not state.limits.has_slurm:
        return Invalidity(JobFault.IMPOSSIBLE, NO_SLURM)
    unknown = next((claim for claim in job.resources if claim.resource not in state.limits.resources), None)
    claim = unknown or state.admission.locks.impossible(state.terms(job).claims)
    if claim is not None:
        return Invalidity(JobFault.IMPOSSIBLE, impossible(claim, state.limits.units))
    reason = too_much_at_once(state.admission.locks.parts(of_fleet(job.locks)))
    return Invalidity(JobFault.IMPOSSIBLE, reason) if reason else None


def too_much_at_once(parts: Iterable[Part]) -> str:
    """Return a message if these parts have more units than one fleet transaction can claim, or "" if the fleet can
    claim them.
    """
    units = sum(part.units for part in parts)
    remedy = "to hold several units of one lock: its `units`"
    text = f"it needs {units} units of fleet locks at once, but can have at most {MOST_AT_ONCE}; {remedy}"
    return text if units > MOST_AT_ONCE else ""


def shortage(state: SchedulerState, job: Job) -> str:
    """Return why this host can never run a job that is not in the catalog, or "" if the host can."""
    invalid = _impossible(state, job)
    state.define(job)
    return "" if invalid is None else invalid.text


def impossible(claim: Claim, resources: dict[str, int]) -> str:
    """Return a message, with the remedy, about a claim on more units than the host or fleet has."""
    name, there = claim.resource, resources.get(claim.resource)
    if name in (CPU, MEMORY):
        units = f"{claim.units / CORE:g}" if name == CPU else f"{-(-claim.units // (1 << 20))}M"
        asked, given = amount(name, claim.units), amount(name, there or 0)
        remedy = f"to allow more anyway: resources: {{{name}: {units}}} in jobqueued.yaml"
        return f"it needs {asked}, but jobs on this host can have at most {given}; {remedy}"
    where, lock = ("fleet", name.removeprefix(FLEET)) if name.startswith(FLEET) else ("host", name)
    more = f"resources: {{{lock}: {claim.units}}}"
    remedy = f"to add some: {more if where == 'host' else f'fleet: {{{more}}}'} in jobqueued.yaml"
    if there is None:
        others = [other.removeprefix(FLEET) for other in resources if other.startswith(FLEET) == (where == "fleet")]
        near = nearest(lock, [other for other in others if other not in (CPU, MEMORY)] or [""])
        remedy = f"did you mean {near}? {remedy}" if near else remedy
    return f"it needs {claim.units} of {lock}, but this {where} has {there or 'none'}; {remedy}"


def amount(resource: str, units: int) -> str:
    """Describe units of a resource: ``0.5 CPUs``, ``400 MiB``, ``2 of gpu``."""
    if resource == CPU:
        return f"{units / CORE:g} {'CPU' if units == CORE else 'CPUs'}"
    if resource == MEMORY:
        return size(units)
    return f"{units} of {resource}"
