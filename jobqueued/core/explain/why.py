"""Explanations of a wait: the missing resources, their holders, the order of the queue, the priority, and the likely
start.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from jobqueued.base.instants import MINUTE, SECOND, to_text
from jobqueued.base.text import counted, duration
from jobqueued.core.explain.forecast import expected_starts
from jobqueued.core.late import lateness
from jobqueued.core.runs.eligibility import Bar, Obstacle, awaited_by, obstacle, rate_allows_at
from jobqueued.core.runs.host_hold import halt
from jobqueued.core.runs.validity import amount
from jobqueued.core.state.scheduler_state import SchedulerState
from jobqueued.jobfile.types.spelling import spelled_rate
from jobqueued.model.job import CPU, MEMORY, Claim, Job, Now
from jobqueued.model.run import Holder, LockClientId, Run, RunId
from jobqueued.model.run_states import RunState, Unstarted
from jobqueued.model.users import Owner, budget_of
from jobqueued.queue import rates
from jobqueued.queue.admission import USER, Reservation
from jobqueued.queue.locks import HOST, SLOT, TAG, Claims

Why = dict[str, Any]
Named = Callable[[Holder], str]


def explain(state: SchedulerState, name: RunId, now: Now, asker: Owner | None = None) -> Why:
    """Explain a run in the format of `interface.INTERFACE`; `reasons` are texts that describe the run's wait.

    For a live run, `reasons` contains the reason why the run is stopping, or is empty if the run is not stopping.
    `asker`: a user who learns only that other users' runs exist, or None for a user who may see everything.

    Raises KeyError if no such run exists, or if it ended.
    """
    return _all_explained(state, [state.runs[name]], now, asker)[0]


def explain_pending(state: SchedulerState, job: str, limit: int, now: Now, asker: Owner | None = None) -> list[Why]:
    """Explain the first `limit` runs of a job that have no live attempt."""
    return _all_explained(state, [state.runs[name] for name in state.peek(job).pending[:limit]], now, asker)


def _all_explained(state: SchedulerState, runs: list[Run], now: Now, asker: Owner | None) -> list[Why]:
    """Explain these runs of a job."""
    ordered = list(state.admission.waiting.ordered(now.mono))
    expected = expected_starts(state, [run.id for run in runs], ordered, now)
    return [_explained(state, run, ordered, now, asker) | _expected(expected.get(run.id)) for run in runs]


def _expected(start: int | None) -> Why:
    return {"expected": None if start is None else to_text(start)}


def lacked(state: SchedulerState, name: RunId) -> str | Holder:
    """Return the first obstacle of a queued run: a missing resource, or the holder of a reservation; "" if nothing is
    missing.
    """
    admission = state.admission
    if name in state.fleet.asked:
        return ""
    terms = admission.waiting.terms(name)
    if (missing := admission.locks.missing(terms.claims)) is not None:
        return missing.resource
    if admission.is_full(terms.share):
        return USER
    kept = (one.holder for one in admission.reservations if one.holder != name and one.touches(terms.claims))
    return next(kept, "")


def _explained(state: SchedulerState, run: Run, ordered: list[Holder], now: Now, asker: Owner | None) -> Why:
    name = run.id
    why: Why = {
        "run": str(name),
        "state": run.state.value,
        "reasons": [],
        "missing": [],
        "ahead": [],
        "behind": None,
        "priority": None,
        "effective_priority": None,
        "growth": None,
        "points": None,
        "every": None,
        "waited": None,
        "dependencies": [],
        "late": None,
    }
    if name.number in state[name.job].saved.late:
        why["late"] = lateness.words(state, run, now)
    if run.state is RunState.DUE:
        return why | _of_due(state, run, now)
    if name in state[name.job].delayed:
        return why | {"reasons": [_delayed(run, state[name.job].delayed[name].cause, now)]}
    if name in state.fleet.asked:
        return why | {"reasons": ["the daemon waits for the fleet's answer"]}
    if run.state is RunState.WAITING:
        return why | _of_waiting(state, run, ordered, now, asker)
    return why | {"reasons": [run.reason] if run.reason else []}


def _of_due(state: SchedulerState, run: Run, now: Now) -> Why:
    found = obstacle(state, run, now)
    if found is None:
        return {}
    reason = _held_back(state, run, found, now)
    held = _halted(state, now)
    if found.verdict is None:
        return {"reasons": [*held, reason]}
    left = duration(max(0, run.held + state.catalog[run.id.job].dependency_timeout - now.wall) // SECOND)
    return {"reasons": [*held, f"{reason}; it waits at most {left} longer"], "dependencies": [reason]}


def _halted(state: SchedulerState, now: Now) -> list[str]:
    """Return why no new run starts on this host, and for how long, or [] if runs may start."""
    reason = halt(state)
    if state.unsaved or state.hold is None:
        return [reason] if reason else []
    return [f"{reason}{_for_so_long(state.hold.until, now)}; to end it: jobqueuectl release"]


def _for_so_long(until: int | None, now: Now) -> str:
    return "" if until is None else f" for {duration(max(0, until - now.wall) // SECOND)} more"


def _held_back(state: SchedulerState, run: Run, found: Obstacle, now: Now) -> str:
    """Describe what holds back a due run."""
    name = run.id.job
    if found.bar is Bar.UNDEFINED:
        return f"job {name} is in no readable job file"
    job, job_state = state.catalog[name], state[name]
    match found.bar:
        case Bar.PAUSED:
            lasts = _for_so_long(job_state.saved.paused_until, now)
            return f"job {name} is paused{lasts}; to resume: jobqueuectl resume {name}"
        case Bar.ACCOUNT_UNKNOWN:
            before = f"job {name} was invalid ({state.invalid(job)}); " if state.invalid(job) else ""
            return f"{before}{next(state.accounts_to_look_up(job))} is being looked up"
        case Bar.FLEET | Bar.OUTDATED:
            return state.fleet.rest_of(job)
        case Bar.TURN:
            pause = duration((run.not_before - now.wall) / SECOND)
            return f"other hosts of the fleet come first for this occurrence; this host claims it in {pause}"
        case Bar.AWAITS:
            return f"it starts after {', '.join(awaited_by(state, job))}"
        case Bar.CONCURRENCY:
            others = sorted([*job_state.live, *job_state.waiting, *job_state.delayed])
            return f"concurrency {job.concurrency} is used up by {', '.join(map(str, others))}"
        case Bar.RATE:
            return _rate_used_up(state, job, now)
        case Bar.MAX_RUNS:
            return f"max_runs {job.max_runs} might be used up by runs that are about to start"
    return found.verdict.reason if found.verdict is not None else ""


def _rate_used_up(state: SchedulerState, job: Job, now: Now) -> str:
    if job.rate is None:
        return ""
    rate = spelled_rate(*job.rate)
    if rates.free_starts(job.rate, state[job.id].saved.rate_use, now.wall) > 0:
        first = [str(run) for run in sorted(state[job.id].waiting) if state.runs[run].so_far is None]
        names = ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")
        return f"the starts that its rate of {rate} allows now are for the runs in the queue: {names}"
    pause = duration((rate_allows_at(state, job, now) - now.wall) / SECOND)
    return f"its rate of {rate} is used up; the next run can start in {pause}"


def _delayed(run: Run, cause: Unstarted | None, now: Now) -> str:
    left = duration(max(0, run.not_before - now.wall) // SECOND)
    pause = f"{left}; to start it now: jobqueuectl retry {run.id}"
    if run.state is RunState.RETRYING:
        kind = "failover" if run.failover else f"attempt {run.attempt}"
        return f"its last attempt failed ({run.reason}); {kind} in {pause}"
    if cause is Unstarted.PATH_BUSY:
        return f"another program holds its lock file ({run.reason}); next try in {pause}"
    return f"its start failed for a reason outside the job ({run.reason}); next try in {pause}"


def _of_waiting(state: SchedulerState, run: Run, ordered: list[Holder], now: Now, asker: Owner | None) -> Why:
    admission, named = state.admission, partial(state.name_for, asker=asker)
    job, terms = state.catalog[run.id.job], admission.waiting.terms(run.id)
    first = ordered[: ordered.index(run.id)]
    ahead = _in_the_way(state, terms.claims, first)
    missing = [_missing(state, claim, now, named) for claim in admission.locks.all_missing(terms.claims)]
    behind = next((one for one in admission.reservations if one.holder in first and one.touches(terms.claims)), None)
    points, every = terms.escalation
    effective = admission.waiting.priority(run.id, now.mono)
    return {
        "reasons": [*_of_user(state, terms.share), *_words(state, missing, ahead, behind, effective, now, named)],
        "growth": _growth(job, effective, points, every),
        "missing": missing,
        "ahead": list(map(named, ahead)),
        "behind": behind and named(behind.holder),
        "priority": job.priority,
        "effective_priority": round(effective, 3),
        "points": points,
        "every": every / SECOND,
        "waited": run.age(now.wall) / SECOND,
    }


def _of_user(state: SchedulerState, share: str) -> list[str]:
    """Return a reason if the user has reached the limit of live runs, otherwise []."""
    if not state.admission.is_full(share):
        return []
    text = (
        f"{counted(state.admission.most_of_a_user or 0, 'run')} of {share} are live, which is the limit for each user"
    )
    if left := [str(run) for run, _attempt in sorted(state.admission.left) if budget_of(run.job) == share]:
        names = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        text += f"; ended runs count until the processes that they left end: {names}"
    return [text]


def _in_the_way(state: SchedulerState, claims: Claims, first: list[Holder]) -> list[Holder]:
    """Return the runs in `first` that compete with these claims."""
    queue, known = state.admission, dict[Claims, bool]()
    for holder in first:
        theirs = queue.waiting.terms(holder).claims
        if theirs not in known:
            known[theirs] = queue.compete(claims, theirs)
    return [holder for holder in first if known[queue.waiting.terms(holder).claims]]


def _missing(state: SchedulerState, claim: Claim, now: Now, named: Named) -> Why:
    """Describe a claim that can't be granted now: its capacity, its holders, and since when they hold it."""
    locks = state.admission.locks
    return {
        "resource": claim.resource.removeprefix(":"),
        "mode": claim.mode,
        "units": claim.units,
        "capacity": None if claim.resource == HOST else locks.capacity(claim.resource),
        "holders": [_holder(state, holder, claim.resource, now, named) for holder in locks.holders(claim.resource)],
    }


def _holder(state: SchedulerState, holder: Holder, resource: str, now: Now, named: Named) -> Why:
    if isinstance(holder, LockClientId):
        return _client(state, holder, resource, now)
    if isinstance(holder, str):
        mode = next(held for held in state.admission.locks.held(holder) if held.resource == resource)
        unknown = dict.fromkeys(("since", "held", "ends_by", "lingers"))
        return {"run": holder, "mode": mode.mode, "units": mode.units, **unknown}
    run, ends_at = state.runs[holder], state.admission.ends_at(holder)
    claim = next(held for held in state.admission.locks.held(holder) if held.resource == resource)
    if (name := named(holder)) != str(holder):
        unknown = dict.fromkeys(("since", "held", "ends_by", "lingers"))
        return {"run": name, "mode": claim.mode, "units": claim.units, **unknown}
    return {
        "run": name,
        "mode": claim.mode,
        "units": claim.units,
        "since": None if run.started is None else to_text(run.started),
        "held": None if run.started is None else duration(max(0, now.wall - run.started) // SECOND),
        "ends_by": None if ends_at is None else to_text(now.wall + ends_at - now.mono),
        "lingers": state.lingering.get(holder),
    }


def _client(state: SchedulerState, holder: LockClientId, resource: str, now: Now) -> Why:
    known = state.lock_clients[holder]
    claim, since = next(held for held in known.claims if held.resource == resource), known.since
    return {
        "run": state.name_of(holder),
        "mode": claim.mode,
        "units": claim.units,
        "since": to_text(since) if since else None,
        "held": duration(max(0, now.wall - since) // SECOND) if since else None,
        "ends_by": None,
        "lingers": None,
    }


def _words(
    state: SchedulerState,
    missing: list[Why],
    ahead: list[Holder],
    behind: Reservation | None,
    effective: float,
    now: Now,
    named: Named,
) -> list[str]:
    words = [_lacks(each) for each in missing]
    words = [*_halted(state, now), *words]
    if (pressed := state.pressed(now.mono)) and effective < state.limits.calm:
        calm = state.limits.calm
        words.insert(
            0, f"the host is under pressure ({', '.join(pressed)}): only runs of priority {calm} or more start now"
        )
    if behind is not None and not missing and not halt(state):
        words.append(f"its claims are reserved for {named(behind.holder)}, which goes first")
    elif ahead:
        first = ", ".join(map(named, ahead[:3])) + (f" and {len(ahead) - 3} more" if len(ahead) > 3 else "")
        words.append(f"it waits behind {first}")
    return words


def _lacks(missing: Why) -> str:
    holders = [
        holder["run"]
        + (f" for {holder['held']}" if holder["held"] not in (None, "0 s") else "")
        + (f" ({holder['lingers']})" if holder["lingers"] else "")
        for holder in missing["holders"]
    ]
    who = ", ".join(holders[:5]) + (f" and {len(holders) - 5} more" if len(holders) > 5 else "")
    match missing["resource"], missing["mode"]:
        case resource, "exclusive" if resource == HOST[1:]:
            return f"it is exclusive, and other runs are live: {who}"
        case resource, _ if resource == HOST[1:]:
            return f"an exclusive run is live: {who}"
        case resource, _ if resource == SLOT[1:]:
            return f"max_running {missing['capacity']} is used up by {who}"
        case resource, _ if resource.startswith(TAG[1:]):
            tag = resource.removeprefix(TAG[1:])
            return f"the limit of {missing['capacity']} live for the tag {tag} is used up by {who}"
        case ((("cpu" | "memory") as resource), _):
            name = CPU if resource == "cpu" else MEMORY
            needs, there = amount(name, missing["units"]), amount(name, missing["capacity"])
            return f"it needs {needs} of the {there} that jobs can have; held by {who}"
        case resource, "units" if missing["capacity"] > 1:
            return f"it needs {missing['units']} of the {missing['capacity']} units of {resource}; held by {who}"
    return f"lock {missing['resource']} is held by {who}"


def _growth(job: Job, effective: float, points: int, every: int) -> str:
    if not points:
        return f"{job.priority}, which does not grow; the highest goes first"
    each = "minute" if every == MINUTE else duration(every // SECOND)
    growth = f"{counted(points, 'point')} for each {each} of waiting"
    return f"{round(effective, 2):g} now: {job.priority}, plus {growth}; the highest goes first"
