"""The record: the JSON document about one run. The scheduler starts and ends the record; supervisors add attempts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from jobqueued.base.instants import to_text
from jobqueued.child.contract import reasons
from jobqueued.child.contract.documents import (
    NO_OUTPUT,
    UNKNOWN,
    UNKNOWN_OF_ATTEMPT,
    OutputPlaces,
    Record,
    TriggeredBy,
    with_attempt,
)
from jobqueued.core.records import spans
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.job import RECORD_VERSION, Job
from jobqueued.model.run import Run
from jobqueued.model.run_states import RunState
from jobqueued.model.users import Owner
from jobqueued.queue.locks import HOST, SLOT, Claims, places_of

_KINDS = {"end": "job"}
"""First word of a trigger → its kind, if they differ."""


def begin(run: Run, job: Job | None, limits: HostLimits) -> Record:
    """Return a run's record so far, with its ended attempts; `job` is None if the job is no longer defined."""
    if run.so_far is not None:
        before = cast("Record", {**run.so_far, "state": run.state.value, **reasons.fields(run.reason)})
        return before if "trace_id" in before else {**before, **spans.ids(run, limits)}  # from an older version
    begun = {
        "version": RECORD_VERSION,
        "job": run.id.job,
        "run": str(run.id),
        "number": run.id.number,
        "key": run.key,
        "state": run.state.value,
        **reasons.fields(run.reason),
        "trigger": run.trigger,
        "triggered_by": triggered_by(run),
        **spans.ids(run, limits),
        "asked_by": run.asked_by,
        "due": to_text(run.due),
        "queued": to_text(run.queued),
        "started": None,
        "ended": None,
        **UNKNOWN,
        "user": job.user if job else None,
        "command": job.redacted(job.command) if job else None,
        "host": limits.name,
        "priority": job.priority if job else None,
        "effective_priority": None,
        "waited_for": [],
        "output": {**NO_OUTPUT},
        "tags": list(job.tags) if job else [],
        "metadata": (job.metadata or {}) if job else {},
        "attempts": [],
    }
    if run.waits:
        begun["waits"] = [{"since": to_text(at), "for": what} for at, what in run.waits]
    if held := list(claims(run.claims, job, limits)):
        begun["claims"] = held
    if run.owner is not None:
        begun["owner"] = run.owner._asdict()
    if job is not None and job.submission is not None and job.submission.key:
        begun |= {"submission_key": job.submission.key, "submission_runs": job.submission.runs}
    return cast("Record", begun)


def claims(of: Claims, job: Job | None, limits: HostLimits) -> Iterator[dict[str, Any]]:
    """Yield the claims of a run, each with its units and the capacity; omit claims that every run has."""
    units = {SLOT: limits.max_running, **limits.units, **({} if job is None else places_of(job))}
    for claim in of:
        if claim.resource != HOST or claim.exclusive:
            there = units.get(claim.resource, 1)
            name = claim.resource.removeprefix(":")
            yield {"resource": name, "mode": claim.mode, "units": claim.units, "of": there}


def owner_of(record: Record) -> Owner | None:
    """Return the user who owns a run, or None if the host owns it or the owner is unknown."""
    match record.get("owner"):
        case {"uid": int(uid), "name": str(name)}:
            return Owner(uid, name)
    return None


def triggered_by(run: Run) -> TriggeredBy:
    """Return the cause of a run: its trigger's kind and any saved details."""
    word = run.trigger.partition(" ")[0]
    by: TriggeredBy = {"kind": _KINDS.get(word, word)}
    return by if run.triggered_by is None else {**by, **(_without(run.triggered_by, "traceparent") or {})}


def extra_cause(record: Record) -> TriggeredBy | None:
    """Return the part of a recorded cause that the trigger does not contain, or None if the trigger contains
    everything.
    """
    return _without(record.get("triggered_by"), "kind")


def repeated(by: TriggeredBy | None) -> TriggeredBy | None:
    """Return the part of a run's cause that is passed on to a rerun, or None if nothing is passed on."""
    return _without(by, "kind", "traceparent", "pattern", "ends")


def _without(by: TriggeredBy | None, *names: str) -> TriggeredBy | None:
    return cast("TriggeredBy", {name: it for name, it in (by or {}).items() if name not in names}) or None


def skipped(run: Run, job: Job | None, limits: HostLimits) -> Record:
    """Return the record of one skip, or of several consecutive skips for the same reason."""
    last = run.due if run.last_due is None else run.last_due
    wait: Any = {} if run.given_up is None else _of_a_wait(run, run.given_up, job, limits)
    return {
        **begin(run, job, limits),
        **wait,
        "first_due": to_text(run.due),
        "last_due": to_text(last),
        "count": run.count,
    }


def _of_a_wait(run: Run, given_up: int, job: Job | None, limits: HostLimits) -> dict[str, Any]:
    """Return the part of a skip's record that describes the wait: the missing resources, the claims, and the end of the
    wait.
    """
    wanted = () if job is None else limits.claims_of(job)
    asked = list(claims(wanted, job, limits))
    told = {"waited_for": list(run.lacked), "given_up": to_text(given_up)}
    return {**told, "claims": asked} if asked else told


def lost(
    run: Run, job: Job | None, limits: HostLimits, wait_status: int | None, output: OutputPlaces | None = None
) -> Record:
    """Return the record of a run whose attempt lost its supervisor, with the wait status if known.

    `output`: the output of all attempts in the output file, or None if this file does not exist.
    """
    begun = begin(run, job, limits)
    exit_code, signal = _split(wait_status)
    offset = sum(known["output"]["bytes"] for known in begun["attempts"] if "output" in known)
    attempt: Any = {
        **UNKNOWN_OF_ATTEMPT,
        "attempt": run.attempt,
        "span_id": spans.of_attempt(begun["span_id"], run.attempt),
        "failover": run.failover,
        "pid": run.pid,
        "exit_code": exit_code,
        "signal": signal,
        "started": None if run.started is None else to_text(run.started),
        "ended": None,
        "state": RunState.LOST.value,
        **reasons.fields(run.reason),
        "output": _own(output, offset),
    }
    return with_attempt(begun, attempt)


def _own(output: OutputPlaces | None, offset: int) -> OutputPlaces:
    """Return the part of an output that starts at `offset`.

    The tail of this part contains nothing from before `offset`. If the output is not UTF-8, the tail may be too short.
    """
    if output is None or output["bytes"] <= offset:
        return {**NO_OUTPUT, "dropped": None, "offset": offset}
    size = output["bytes"] - offset
    tail = output["tail"].encode()[-size:].decode(errors="ignore")
    return {**output, "bytes": size, "tail": tail, "offset": offset}


def _split(wait_status: int | None) -> tuple[int | None, int | None]:
    if wait_status is None:
        return None, None
    number = wait_status & 0x7F
    return (None, number) if number else (wait_status >> 8, None)
