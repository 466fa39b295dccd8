"""What people are told of jobs: the scheduler's state as plain data, in the words of `interface.INTERFACE`."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from jobqueued.core.job_state import JobState
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.validity import amount
from jobqueued.model import (
    CORE,
    CPU,
    FAILURES,
    LIVE,
    PENDING,
    SECOND,
    Claim,
    Job,
    JobStatus,
    On,
    Run,
    RunState,
    to_text,
)
from jobqueued.queue.locks import HOST, SLOT
from jobqueued.queue.placement import CPUS
from jobqueued.text import duration

_DURATIONS = (
    "every", "spread", "offset", "catch_up_window", "grace", "start_deadline", "timeout", "kill_grace", "drain",
    "dependency_timeout", "retry_delay", "retry_max_delay",
)  # fmt: skip
_INSTANTS = ("anchor", "at")
_INTERNAL = ("triggers", "file", "line", "at_boot")


def _moment(instant: int | None) -> str | None:
    return None if instant is None else to_text(instant)


def status_of(scheduler: Scheduler, job: Job) -> JobStatus:
    """The one word for a job."""
    state = scheduler[job.id]
    ended = state.saved.stats.last_state
    facts = (
        (bool(state.live), JobStatus.RUNNING),
        (any(scheduler.runs[run].state is RunState.RETRYING for run in state.delayed), JobStatus.RETRYING),
        (bool(scheduler.invalid(job)), JobStatus.INVALID),
        (state.saved.paused, JobStatus.PAUSED),
        (bool(state.unstarted or state.delayed), JobStatus.WAITING),
        (not job.enabled, JobStatus.DISABLED),
        (scheduler.is_completed(job), JobStatus.COMPLETED),
        (ended in FAILURES, JobStatus.FAILED),
        (_is_over(scheduler, job), JobStatus.COMPLETED),
    )
    return next((status for fact, status in facts if fact), JobStatus.IDLE)


def _is_over(scheduler: Scheduler, job: Job) -> bool:
    """Whether the clock was all that made it due, and does so no more."""
    stats = scheduler[job.id].saved.stats
    had_some = bool(job.triggers and (stats.last_state or stats.skipped))
    return had_some and scheduler.next_start(job.id) is None and not (job.at_boot or job.on)


def rhythms(job: Job) -> list[str]:
    """What makes the job due, in words."""
    words = [f"{expression}, seconds {job.seconds}" if job.seconds else expression for expression in job.schedule]
    words += [] if job.every is None else [f"every {duration(job.every // SECOND, 4)}"]
    words += [] if job.at is None else [f"at {to_text(job.at)}"]
    words += [f"after {', '.join(job.dependencies)}"] if job.dependencies and not job.triggers else []
    words += [_event(on) for on in job.on]
    return words + ["at boot"] * (job.at_boot and not any(e.strip().lower() == "@reboot" for e in job.schedule))


def _event(on: On) -> str:
    if on.kind in ("event", "path"):
        return f"at {on.kind} {on.name}"
    result = {"success": "", "failure": "failure of ", "any": "any end of "}[on.result]
    return f"after {result}{on.name}"


def job_row(scheduler: Scheduler, job: Job) -> dict[str, Any]:
    """The interface's type Job."""
    state = scheduler[job.id]
    stats = state.saved.stats
    return {
        "id": job.id, "description": job.description, "status": status_of(scheduler, job).value,
        "enabled": job.enabled, "paused": state.saved.paused, "paused_until": _moment(state.saved.paused_until),
        "skips": [to_text(due + job.offset) for due in state.saved.skips], "invalid": scheduler.invalid(job) or None,
        "priority": job.priority, "concurrency": job.concurrency, "schedule": rhythms(job), "timezone": job.timezone,
        "next": _moment(_next(scheduler, job)), "last_run": _moment(stats.last_run),
        "last_state": None if stats.last_state is None else str(stats.last_state), "due": len(state.due),
        "waiting": len(state.waiting), "retrying": len(state.delayed), "running": len(state.live), "file": job.file,
        "line": job.line,
    }  # fmt: skip


def definition(job: Job) -> dict[str, Any]:
    """The job as its file and the defaults have it, in JSON's terms."""
    found = {field.name: getattr(job, field.name) for field in fields(job) if field.name not in _INTERNAL}
    for name in _DURATIONS:
        found[name] = None if found[name] is None else found[name] / SECOND
    for name in _INSTANTS:
        found[name] = _moment(found[name])
    found["locks"] = [_lock(claim) for claim in job.locks]
    found["resources"] = {claim.resource: _amount(claim) for claim in job.resources}
    found["on"] = [*(["boot"] if job.at_boot else []), *(_on(on) for on in job.on)]
    if job.escalation is not None:
        found["escalation"] = {"points": job.escalation.points, "every": job.escalation.every / SECOND}
    limits = dict(job.resource_limits)
    if limits.get("cpu_time") is not None:
        limits["cpu_time"] /= SECOND
    return {**found, "environment": dict(job.environment), "resource_limits": limits}


def _lock(claim: Claim) -> dict[str, Any]:
    kind = "path" if claim.resource.startswith("/") else "name"
    how = {"units": claim.units} if claim.units else {"mode": "exclusive" if claim.exclusive else "shared"}
    return {kind: claim.resource, **how}


def holds(run: Run) -> list[dict[str, Any]]:
    """What a live run holds beside its share of the host and its slot, for people and programs."""
    given = dict(run.placed)
    return [
        {
            "resource": claim.resource.removeprefix(":"),
            "mode": "exclusive" if claim.exclusive else "units" if claim.units else "shared",
            "units": claim.units, "amount": amount(claim.resource, claim.units),
            "given": list(given.get(CPUS if claim.resource == CPU else claim.resource, ())),
        }
        for claim in run.claims
        if claim.exclusive or claim.resource not in (HOST, SLOT)
    ]  # fmt: skip


def _amount(claim: Claim) -> float:
    return claim.units / CORE if claim.resource == CPU else claim.units


def _on(on: On) -> dict[str, str]:
    return {on.kind: on.name, **({"result": on.result} if on.kind == "job" else {})}


def stats(state: JobState) -> dict[str, Any]:
    """The job's counters."""
    counters = state.saved.stats
    usual = None if counters.usual is None else counters.usual / SECOND
    return {**asdict(counters), "last_run": _moment(counters.last_run), "usual": usual}


def _next(scheduler: Scheduler, job: Job) -> int | None:
    """When the clock starts the job next; None: never, or not as things stand."""
    barred = scheduler[job.id].saved.paused or not job.enabled or scheduler.invalid(job)
    start = None if barred else scheduler.next_start(job.id)
    if start is not None and start - job.offset in scheduler[job.id].saved.skips:
        return next(iter(starts(scheduler, job, 1)), None)
    return start


def starts(scheduler: Scheduler, job: Job, count: int) -> list[int]:
    """When the clock starts the job next, past what is to be skipped: at most `count` times."""
    memory = scheduler[job.id].saved
    found = job.next_starts(memory.cursor + job.offset, count + len(memory.skips))
    return [start for start in found if start - job.offset not in memory.skips][:count]


def next_job(scheduler: Scheduler) -> tuple[int, str] | None:
    """The soonest due time of any job, and whose it is."""
    first = scheduler.soonest()
    if first is None or _next(scheduler, scheduler.catalog[first[1]]) == first[0]:
        return first
    times = ((_next(scheduler, job), job.id) for job in scheduler.catalog)
    return min(((due, name) for due, name in times if due is not None), default=None)


def counts(scheduler: Scheduler) -> dict[str, int]:
    """How many runs are due (held by their job's concurrency or dependencies), waiting, retrying, and running."""
    states = [run.state for run in scheduler.runs.values()]
    live = sum(state in LIVE for state in states)
    counted = {state.value: states.count(state) for state in RunState if state in PENDING}
    return {**counted, "running": live}


def hold(scheduler: Scheduler) -> dict[str, Any]:
    """Who has asked that nothing new starts, and until when."""
    held = scheduler.hold
    return {"held_by": held and held.asked_by, "held_until": _moment(held.until) if held else None}
