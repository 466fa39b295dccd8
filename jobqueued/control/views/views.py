"""Jobs for people: plain data in the format of `interface.INTERFACE`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from operator import attrgetter
from typing import Any

from jobqueued.base.instants import SECOND, to_text
from jobqueued.base.text import duration, settled_times
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.views.seen import WHO_MAY, VisibleView
from jobqueued.core.explain.attention import Attention, is_over
from jobqueued.core.runs.validity import amount
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.state.job_state import JobState
from jobqueued.core.with_lock.lock_clients import LockClaim
from jobqueued.model.catalog import written_in
from jobqueued.model.job import CPU, Job, JobStatus, On
from jobqueued.model.run import Run
from jobqueued.model.run_states import ATTENTION, LIVE, PENDING, RunState
from jobqueued.model.users import awaited_path
from jobqueued.queue.locks import HOST, SLOT
from jobqueued.queue.placement import CPUS


def moment(instant: int | None) -> str | None:
    """Return an instant as JSON text; None remains None."""
    return None if instant is None else to_text(instant)


class BatchProgress(NamedTuple):
    """The progress of a submission with several runs, as in the interface."""

    runs: int
    done: int
    failed: int
    running: int
    waiting: int
    left: float | None


class JobCondition(NamedTuple):
    """A job's state. None means unknown, because a stopped daemon's files do not show the value.

    `later`: number of runs between two attempts; `is_retrying`: some of these runs retry. `is_used_up`: `max_runs` have
    started. `is_over`: no schedule makes the job due again. `has_missed`: no run of the job ever started. `late`:
    number of late runs. `rests`: why the fleet lets no run start on this host. `outdated`: the fleet has a newer
    definition. Times are in the interface's format.
    """

    running: int
    due: int | None = None
    waiting: int | None = None
    later: int | None = None
    is_retrying: bool = False
    paused: bool | None = None
    paused_until: str | None = None
    skips: list[str] | None = None
    invalid: str | None = None
    rests: str = ""
    outdated: bool = False
    is_used_up: bool = False
    is_over: bool = False
    has_missed: bool = False
    last_run: str | None = None
    last_state: str | None = None
    last_failover: bool = False
    failing_since: str | None = None
    next: str | None = None
    settled: str | None = None
    rate_full: str | None = None
    late: int = 0
    overdue_since: str | None = None
    batch: BatchProgress | None = None


def status(job: Job, it: JobCondition) -> JobStatus:
    """Return the status of a job."""
    facts = (
        (it.running, JobStatus.RUNNING),
        (it.is_retrying, JobStatus.RETRYING),
        (it.invalid, JobStatus.INVALID),
        (it.paused, JobStatus.PAUSED),
        (it.outdated and job.enabled, JobStatus.OUTDATED),
        (it.due or it.waiting or it.later, JobStatus.WAITING),
        (not job.enabled, JobStatus.DISABLED),
        (it.is_used_up, JobStatus.COMPLETED),
        (it.failing_since, JobStatus.FAILED),
        (it.is_over and it.has_missed, JobStatus.MISSED),
        (it.is_over, JobStatus.COMPLETED),
    )
    return next((status for fact, status in facts if fact), JobStatus.IDLE)


def job_row(job: Job, it: JobCondition) -> dict[str, Any]:
    """Return a job as the interface's type Job."""
    return {
        "id": job.id,
        "description": job.description,
        "status": status(job, it).value,
        "enabled": job.enabled,
        "paused": it.paused,
        "paused_until": it.paused_until,
        "skips": it.skips,
        "invalid": it.invalid,
        "priority": job.priority,
        "concurrency": job.concurrency,
        "scope": job.scope.value,
        "schedule": rhythms(job),
        "timezone": job.timezone,
        "next": it.next,
        "settled": it.settled,
        "rate_full": it.rate_full,
        "last_run": it.last_run,
        "last_state": it.last_state,
        "last_failover": it.last_failover,
        "failing_since": it.failing_since,
        "due": it.due,
        "waiting": it.waiting,
        "retrying": it.later,
        "running": it.running,
        "late": it.late,
        "overdue_since": it.overdue_since,
        "tags": list(job.tags),
        "file": written_in(job),
        "line": job.line,
        "drop_ins": list(job.drop_ins),
        "batch": None if it.batch is None else it.batch._asdict(),
    }


_PRIVATE: dict[str, Any] = {
    "description": "",
    "tags": [],
    "schedule": [],
    "invalid": None,
    "file": "",
    "line": 0,
    "drop_ins": [],
}
"""Fields that are empty for strangers: all text from the job's file, and the file's path."""


def public_job_row(job: Job, it: JobCondition) -> dict[str, Any]:
    """Return a job as the interface's type Job, with only its public facts."""
    return {**job_row(job, it), **_PRIVATE}


def condition(scheduler: Scheduler, job: Job) -> JobCondition:
    """Return a job's state in the scheduler."""
    state = scheduler[job.id]
    saved, stats = state.saved, state.saved.stats
    had_some = bool(stats.last_state or stats.skipped)
    return JobCondition(
        running=len(state.live),
        due=len(state.due),
        waiting=len(state.waiting),
        later=len(state.delayed),
        is_retrying=any(scheduler.runs[run].state is RunState.RETRYING for run in state.delayed),
        paused=saved.paused,
        paused_until=moment(saved.paused_until),
        skips=[to_text(due + job.offset) for due in saved.skipped],
        invalid=scheduler.invalid(job) or None,
        rests=scheduler.rest_of(job),
        outdated=scheduler.is_outdated(job),
        is_used_up=scheduler.is_completed(job),
        is_over=is_over(job, scheduler.next_start(job.id), had_some=had_some),
        has_missed=not stats.started,
        last_run=moment(stats.last_run),
        last_state=None if stats.last_state is None else str(stats.last_state),
        last_failover=stats.by_failover,
        failing_since=moment(stats.fails_since),
        next=moment(_next(scheduler, job)),
        settled=moment(saved.settled or None),
        rate_full=None if job.rate is None else moment(saved.rate_use.full_at or None),
        late=len(saved.late),
        overdue_since=moment(saved.overdue_since),
        batch=_batch(job, state),
    )


def _batch(job: Job, state: JobState) -> BatchProgress | None:
    """Return the progress of a submission, or None for other jobs and submissions with one run."""
    if job.submission is None or job.submission.runs == 1:
        return None
    runs, stats, running = job.submission.runs, state.saved.stats, len(state.live)
    done = stats.started + stats.skipped
    at_once = min(job.concurrency, runs)
    later = max(0, runs - done - max(running, at_once))
    rounds = (done < runs) + -(-later // at_once)
    left = None if state.usual is None else rounds * state.usual / SECOND
    return BatchProgress(runs, done, stats.failed, running, max(0, runs - done - running), left)


def idleness(job: Job, it: JobCondition, newest: Iterable[Record], set_back: int | None = None) -> str:
    """Return the reasons why no run of a job waits to start, beginning with the reasons of skipped runs in `newest`,
    and the remedy.

    `set_back`: if the clock was set back, the instant up to which the job's fixed times were already handled.
    """
    again = "" if set_back is None else f"; its {settled_times(to_text(set_back))}"
    facts = (
        (it.invalid, f"it is invalid: {it.invalid}"),
        (
            it.paused,
            f"it is paused{f' until {it.paused_until}' if it.paused_until else ''}; to resume: "
            f"jobqueuectl resume {job.id}",
        ),
        (it.rests, it.rests),
        (not job.enabled, "it is disabled (`enabled: false`)"),
        (it.is_used_up, f"its max_runs ({job.max_runs}) are used up"),
        (it.running, "its runs are live now"),
        (
            it.next,
            f"it is next due at {it.next}{', because earlier starts will be skipped' if it.skips else ''}{again}",
        ),
    )
    skipped = [f"{one['run']} was skipped: {one['reason']}; " for one in newest if one["state"] == "skipped"]
    due = f"; it becomes due {', '.join(rhythms(job))}" if job.dependencies or job.on else ""
    nothing = f"nothing makes it due now{due}; to run it: jobqueuectl run {job.id}"
    return "".join(skipped) + next((words for fact, words in facts if fact), nothing)


def rhythms(job: Job) -> list[str]:
    """Return descriptions of the job's triggers."""
    words = [f"{expression}, seconds {job.seconds}" if job.seconds else expression for expression in job.schedule]
    words += [] if job.every is None else [f"every {duration(job.every // SECOND, 4)}"]
    words += [] if job.at is None else [f"at {to_text(job.at)}"]
    words += [f"after {', '.join(job.dependencies)}"] if job.dependencies and not job.triggers else []
    words += [_event(on) for on in job.on]
    is_named = any(expression.strip().lower() == "@reboot" for expression in job.schedule)
    return [*words, "at boot"] if job.at_boot and not is_named else words


def _event(on: On) -> str:
    if on.kind in ("event", "path"):
        return f"at {on.kind} {awaited_path(on.name) if on.kind == 'path' else on.name}"
    result = {"success": "", "failure": "failure of ", "any": "any end of "}[on.result]
    return f"after {result}{'any job' if on.name == '*' else on.name}"


def lock_claim(one: LockClaim, pid: int | None, command: str | None) -> dict[str, Any]:
    """Return the interface's type LockClaim for a holder with this PID and command."""
    claim = one.claim
    return {
        "lock": claim.resource.removeprefix(":"),
        "mode": claim.mode,
        "units": claim.units,
        "held": one.held,
        "since": moment(one.since),
        "holder": str(one.holder),
        "asked_by": one.asked_by,
        "pid": pid,
        "command": command,
        "reason": one.reason,
    }


def holds(run: Run) -> list[dict[str, Any]]:
    """Return a live run's claims, without its share of the host and its slot."""
    given = dict(run.placed)
    return [
        {
            "resource": claim.resource.removeprefix(":"),
            "mode": claim.mode,
            "units": claim.units,
            "amount": amount(claim.resource, claim.units),
            "given": list(given.get(CPUS if claim.resource == CPU else claim.resource, ())),
        }
        for claim in run.claims
        if claim.exclusive or claim.resource not in (HOST, SLOT)
    ]


def stats(state: JobState) -> dict[str, Any]:
    """Return the job's counters."""
    counters = state.saved.stats
    moments = {name: moment(getattr(counters, name)) for name in ("last_run", "failing_since")}
    return {**asdict(counters), **moments, "usual": None if state.usual is None else state.usual / SECOND}


def _next(scheduler: Scheduler, job: Job) -> int | None:
    """Return the job's next scheduled start after its pause, or None if no start follows."""
    saved, start = scheduler[job.id].saved, scheduler.next_start(job.id)
    if scheduler.invalid(job) or start is None:
        return None
    if saved.paused or not job.enabled or start - job.offset in saved.skipped:
        return next(iter(saved.starts(job, 1)), None)
    return start


_LOOKS = 500
"""Maximum number of starts to search for the first start that a user may see."""


def next_job(scheduler: Scheduler, seen: VisibleView | None = None) -> tuple[int, str] | None:
    """Return the next start of any job, with the job, or None if no start follows.

    With `seen`, search only the jobs that a user may see.
    """
    if seen is not None:
        starts = ((at, name) for at, name in scheduler.soonest_starts(_LOOKS) if seen.job(name))
        return next((it for it in starts if _next(scheduler, scheduler.catalog[it[1]]) == it[0]), None)
    first = scheduler.soonest()
    if first is None or _next(scheduler, scheduler.catalog[first[1]]) == first[0]:
        return first
    times = ((_next(scheduler, job), job.id) for job in scheduler.catalog)
    return min(((due, name) for due, name in times if due is not None), default=None)


def counts(scheduler: Scheduler, seen: VisibleView | None = None) -> dict[str, int]:
    """Return the numbers of runs: due (held by the job's concurrency or dependencies), waiting, retrying, running."""
    states = [run.state for run in scheduler.runs.values() if seen is None or seen.job(run.id.job)]
    live = sum(state in LIVE for state in states)
    counted = {state.value: states.count(state) for state in RunState if state in PENDING}
    return {**counted, "running": live}


def hold(scheduler: Scheduler) -> dict[str, Any]:
    """Return this host's hold: its requester and its end."""
    held = scheduler.hold
    return {
        "held_by": held and held.asked_by,
        "held_until": moment(held.until) if held else None,
        "draining": held is not None and held.boot is not None,
    }


def exclusive(scheduler: Scheduler) -> dict[str, Any]:
    """Return the live run that is alone on this host because its job is exclusive, or None if no such run exists."""
    alone = (run.id for run in scheduler.live if any(it.resource == HOST and it.exclusive for it in run.claims))
    return {"exclusive": next(map(str, alone), None)}


def fleet(scheduler: Scheduler, *, whole: bool) -> dict[str, Any]:
    """Return the fleet and its hosts with a session. `whole`: if the fleet is unreachable, include the reason."""
    known = scheduler.fleet
    hosts = {} if known.down else known.hosts
    return {
        "fleet": known.name or None,
        "host": scheduler.limits.name,
        "hosts": sorted(hosts),
        "about": [{"host": name, "labels": list(it.labels), "held": it.is_held} for name, it in sorted(hosts.items())],
        "down": (known.down if whole else f"the cause is not shown; {WHO_MAY}") if known.down else None,
    }


def fleet_counted(scheduler: Scheduler) -> dict[str, Any]:
    """Return the fleet's name, and the number of its hosts with a session, or None if unknown."""
    known = scheduler.fleet
    return {"fleet": known.name or None, "fleet_hosts": len(known.hosts) if known.name and not known.down else None}


MOST_NAMED = 100


def attention(found: Iterable[Attention]) -> dict[str, Any]:
    """Return the items that need a person's attention: at most `MOST_NAMED` of each kind, and each kind's total."""
    kinds = {kind: list(those) for kind, those in groupby(found, attrgetter("kind"))}
    named = [one for those in kinds.values() for one in those[:MOST_NAMED]]
    return {
        "attention": [
            {
                "kind": one.kind,
                "job": one.job,
                "run": None if one.run is None else str(one.run),
                "since": moment(one.since),
                "until": moment(one.until),
                "reason": one.reason,
            }
            for one in named
        ],
        **{kind: len(kinds.get(kind, ())) for kind in ATTENTION},
    }
