"""Why a run has not started: what it lacks and who has that, who goes first, how its priority grows, and about when."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from jobqueued.core import dependencies
from jobqueued.core.forecast import expected_start
from jobqueued.core.scheduler_state import SchedulerState
from jobqueued.core.validity import amount
from jobqueued.events import PATH_BUSY
from jobqueued.model import CPU, MEMORY, MINUTE, SECOND, Claim, Job, Now, Run, RunId, RunState, span, to_text
from jobqueued.queue.admission import Reservation
from jobqueued.queue.locks import HOST, SLOT

Why = dict[str, Any]


def explain(book: SchedulerState, name: RunId, now: Now) -> Why:
    """All of it as the interface has it (`interface.INTERFACE`); `reasons` says it in words, and is [] for a live run.

    KeyError: no such run, or it has ended.
    """
    run = book.runs[name]
    why: Why = {
        "run": str(name), "state": run.state.value, "reasons": [], "missing": [], "ahead": [], "behind": None,
        "priority": None, "effective_priority": None, "points": None, "every": None, "waited": None, "expected": None,
        "dependencies": [],
    }  # fmt: skip
    if run.state is RunState.DUE:
        return why | _of_due(book, run, now)
    if name in book[name.job].later:
        return why | {"reasons": [_pause(run, now)]}
    if run.state is RunState.WAITING:
        return why | _of_waiting(book, run, now)
    return why


def _of_due(book: SchedulerState, run: Run, now: Now) -> Why:
    job, state = book.catalog.get(run.id.job), book[run.id.job]
    if job is None:
        return {"reasons": [f"job {run.id.job} is not defined in any file that could be read"]}
    if held := book.holds(job):
        return {"reasons": [held]}
    if state.under_way >= job.concurrency:
        others = ", ".join(map(str, sorted([*state.live, *state.waiting, *state.later])))
        return {"reasons": [f"concurrency {job.concurrency} is used up by {others}"]}
    if run.so_far is None and book.is_used_up(job):
        return {"reasons": [f"max_runs {job.max_runs} may be used up by what is about to start"]}
    word, reason = dependencies.verdict(book, job, run, now)
    if word is dependencies.WAITS:
        more = span(max(0, run.held + job.dependency_timeout - now.wall))
        return {"reasons": [f"{reason}; it waits for {more} more at most"], "dependencies": [reason]}
    return {}


def _pause(run: Run, now: Now) -> str:
    pause = span(max(0, run.not_before - now.wall))
    if run.state is RunState.RETRYING:
        kind = "its failover" if run.failover else f"attempt {run.attempt}"
        return f"its last attempt failed ({run.reason}); {kind} follows in {pause}"
    if run.reason and run.reason.startswith(PATH_BUSY):
        path = run.reason.removeprefix(f"{PATH_BUSY}: ")
        return f"lock file {path} is held by another program; it is tried again in {pause}"
    return f"its last start failed by no fault of its own ({run.reason}); it is tried again in {pause}"


def _of_waiting(book: SchedulerState, run: Run, now: Now) -> Why:
    admission = book.admission
    job, terms = book.catalog[run.id.job], admission.waiting.terms(run.id)
    ahead = list(takewhile(lambda other: other != run.id, admission.waiting.ordered(now.mono)))
    missing = [_missing(book, claim, now) for claim in admission.locks.all_missing(terms.claims)]
    behind = next((one for one in admission.reservations if one.run in ahead and one.touches(terms.claims)), None)
    points, every = terms.escalation
    effective = admission.waiting.priority(run.id, now.mono)
    expected = expected_start(book, run.id, now)
    return {
        "reasons": [*_words(book, missing, ahead, behind, effective, now), *_growth(job, effective, points, every)],
        "missing": missing, "ahead": list(map(book.called, ahead)), "behind": behind and book.called(behind.run),
        "priority": job.priority, "effective_priority": round(effective, 3), "points": points, "every": every / SECOND,
        "waited": run.age(now.wall) / SECOND,
        "expected": None if expected is None else to_text(expected),
    }  # fmt: skip


def _missing(book: SchedulerState, claim: Claim, now: Now) -> Why:
    """One claim that can't be granted now: how much there is, and who holds it since when."""
    locks = book.admission.locks
    holders = [holder for holder in locks.holders(claim.resource) if isinstance(holder, RunId)]
    return {
        "resource": claim.resource.removeprefix(":"), "mode": _mode(claim), "units": claim.units,
        "capacity": None if claim.resource == HOST else locks.capacity(claim.resource),
        "holders": [_holder(book, holder, claim.resource, now) for holder in holders],
    }  # fmt: skip


def _holder(book: SchedulerState, holder: RunId, resource: str, now: Now) -> Why:
    if holder in book.guests:
        return _guest(book, holder, resource)
    run, ends_at = book.runs[holder], book.admission.ends_at(holder)
    claim = next(held for held in run.claims if held.resource == resource)
    return {
        "run": str(holder), "mode": _mode(claim), "units": claim.units,
        "since": None if run.started is None else to_text(run.started),
        "held": None if run.started is None else span(max(0, now.wall - run.started)),
        "ends_by": None if ends_at is None else to_text(now.wall + ends_at - now.mono),
    }  # fmt: skip


def _guest(book: SchedulerState, holder: RunId, resource: str) -> Why:
    known = book.guests[holder]
    claim = next(held for held in known.claims if held.resource == resource)
    return {
        "run": book.called(holder), "mode": _mode(claim), "units": claim.units, "since": None, "held": None,
        "ends_by": None,
    }  # fmt: skip


def _mode(claim: Claim) -> str:
    return "exclusive" if claim.exclusive else "units" if claim.units else "shared"


def _words(
    book: SchedulerState, missing: list[Why], ahead: list[RunId], behind: Reservation | None, effective: float, now: Now
) -> list[str]:
    words = [_lacks(each) for each in missing]
    if book.hold is not None:
        words.insert(0, f"nothing new starts on this host: held by {book.hold.asked_by}; to go on: jobqueuectl release")
    if (pressed := book.pressed(now.mono)) and effective < book.limits.calm:
        calm = book.limits.calm
        words.insert(0, f"work waits for {', '.join(pressed)} on this host: only priorities from {calm} on start now")
    if behind is not None and not missing and book.hold is None:
        words.append(f"what it needs is kept for {book.called(behind.run)}, which goes first")
    elif ahead:
        first = ", ".join(map(book.called, ahead[:3])) + (f" and {len(ahead) - 3} more" if len(ahead) > 3 else "")
        words.append(f"waits behind {first}")
    return words


def _lacks(missing: Why) -> str:
    holders = [
        holder["run"] + (f" for {holder['held']}" if holder["held"] not in (None, "0 s") else "")
        for holder in missing["holders"]
    ]
    who = ", ".join(holders[:5]) + (f" and {len(holders) - 5} more" if len(holders) > 5 else "")
    match missing["resource"], missing["mode"]:
        case resource, "exclusive" if resource == HOST[1:]:
            return f"it is exclusive, and not alone on this host: {who}"
        case resource, _ if resource == HOST[1:]:
            return f"an exclusive run is live: {who}"
        case resource, _ if resource == SLOT[1:]:
            return f"max_running {missing['capacity']} is used up by {who}"
        case ((("cpu" | "memory") as resource), _):
            name = CPU if resource == "cpu" else MEMORY
            needs, there = amount(name, missing["units"]), amount(name, missing["capacity"])
            return f"it asks for {needs} of the {there} that jobs have; taken by {who}"
        case resource, "units" if missing["capacity"] > 1:
            return f"it asks for {missing['units']} of the {missing['capacity']} units of {resource}; taken by {who}"
    return f"lock {missing['resource']} is held by {who}"


def _growth(job: Job, effective: float, points: int, every: int) -> list[str]:
    if not points:
        return [f"its priority is {job.priority}, and does not grow"]
    each = "minute" if every == MINUTE else span(every)
    growth = f"{points} point{'s' * (points != 1)} for each {each} it has waited"
    return [f"its priority is {round(effective, 2):g} by now: {job.priority}, and {growth}"]
