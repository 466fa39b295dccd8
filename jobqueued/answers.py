"""What people are told of jobs: the scheduler's state as plain data, in the words of `varlink.INTERFACE`."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from jobqueued.book import JobState
from jobqueued.model import DAY, HOUR, LIVE, MINUTE, SECOND, Job, JobStatus, RunState, to_text
from jobqueued.scheduler import Scheduler

_DURATIONS = frozenset({"every", "spread", "offset", "catch_up_window", "grace", "timeout", "kill_grace"})
_INSTANTS = frozenset({"anchor", "at"})
_INTERNAL = frozenset({"triggers", "file", "line"})
FAILURES = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.KILLED, RunState.LOST})
"""The ends that need somebody's attention."""


def _moment(instant: int | None) -> str | None:
    return None if instant is None else to_text(instant)


def status_of(scheduler: Scheduler, job: Job) -> JobStatus:
    """The one word for a job."""
    state = scheduler[job.id]
    ended = state.memory.stats.last_state
    facts = (
        (bool(state.live), JobStatus.RUNNING),
        (bool(scheduler.invalid(job)), JobStatus.INVALID),
        (state.memory.paused, JobStatus.PAUSED),
        (bool(state.held), JobStatus.WAITING),
        (not job.enabled, JobStatus.DISABLED),
        (ended in FAILURES, JobStatus.FAILED),
        (
            bool(job.triggers and ended) and scheduler.next_start(job.id) is None and not job.at_boot,
            JobStatus.COMPLETED,
        ),
    )
    return next((status for fact, status in facts if fact), JobStatus.IDLE)


def rhythms(job: Job) -> list[str]:
    """What makes the job due, in words."""
    words = [f"{expression}, seconds {job.seconds}" if job.seconds else expression for expression in job.schedule]
    words += [] if job.every is None else [f"every {_length(job.every)}"]
    words += [] if job.at is None else [f"at {to_text(job.at)}"]
    return words + ["at boot"] * (job.at_boot and not any(e.strip().lower() == "@reboot" for e in job.schedule))


def _length(duration: int) -> str:
    """A duration, exactly: ``1 d 12 h``."""
    words, rest = [], duration
    for unit, length in (("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", SECOND)):
        count, rest = divmod(rest, length)
        words += [f"{count} {unit}"] if count else []
    return " ".join(words)


def job_row(scheduler: Scheduler, job: Job) -> dict[str, Any]:
    """The interface's type Job."""
    state = scheduler[job.id]
    stats = state.memory.stats
    return {
        "id": job.id, "description": job.description, "status": status_of(scheduler, job).value,
        "enabled": job.enabled, "paused": state.memory.paused, "invalid": scheduler.invalid(job) or None,
        "priority": job.priority, "concurrency": job.concurrency, "schedule": rhythms(job), "timezone": job.timezone,
        "next": _moment(_next(scheduler, job)), "last_run": _moment(stats.last_run),
        "last_state": None if stats.last_state is None else str(stats.last_state), "due": len(state.due),
        "waiting": len(state.waiting), "running": len(state.live), "file": job.file, "line": job.line,
    }  # fmt: skip


def definition(job: Job) -> dict[str, Any]:
    """The job as its file and the defaults have it, in JSON's terms."""
    found = {field.name: getattr(job, field.name) for field in fields(job) if field.name not in _INTERNAL}
    for name in _DURATIONS:
        found[name] = None if found[name] is None else found[name] / SECOND
    for name in _INSTANTS:
        found[name] = _moment(found[name])
    limits = dict(job.resource_limits)
    if limits.get("cpu_time") is not None:
        limits["cpu_time"] /= SECOND
    return {**found, "environment": dict(job.environment), "resource_limits": limits}


def stats(state: JobState) -> dict[str, Any]:
    """The job's counters."""
    counters = state.memory.stats
    return {**asdict(counters), "last_run": _moment(counters.last_run)}


def _next(scheduler: Scheduler, job: Job) -> int | None:
    """When the clock starts the job next; None: never, or not as things stand."""
    barred = scheduler[job.id].memory.paused or not job.enabled or scheduler.invalid(job)
    return None if barred else scheduler.next_start(job.id)


def next_job(scheduler: Scheduler) -> tuple[int, str] | None:
    """The soonest due time of any job, and whose it is."""
    first = scheduler.soonest()
    if first is None or _next(scheduler, scheduler.catalog[first[1]]) == first[0]:
        return first
    times = ((_next(scheduler, job), job.id) for job in scheduler.catalog)
    return min(((due, name) for due, name in times if due is not None), default=None)


def counts(scheduler: Scheduler) -> dict[str, int]:
    """How many runs are due (held by their job's concurrency), waiting for admission, and running."""
    states = [run.state for run in scheduler.runs.values()]
    live = sum(state in LIVE for state in states)
    return {"due": states.count(RunState.DUE), "waiting": states.count(RunState.WAITING), "running": live}
