"""Runs that waited at an instant: the resources that each run needed, and their holders, from the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobqueued.audit.known import AttemptSpan, AuditAnswer, Known, dues, given_up, instant, over, spans
from jobqueued.base.instants import SECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.model.run_states import RunState

_STARTING = SECOND
"""Maximum time (ns) between a run's admission and its start."""
_MOST_NAMED = 5
_TAG = "tag:"
"""Prefix of a claim on one of the runs that may be live with a tag, in a record."""


def pending(known: Known, runs: Iterable[Record], at: int, *, is_held: bool) -> Iterator[AuditAnswer]:
    """Yield answers about the runs that waited at an instant for a start or another attempt, whatever their ends."""
    for record in sorted(runs, key=lambda it: it["number"]):
        if record["state"] == RunState.SKIPPED:
            if (since := _waited_since(record, at)) is not None:
                yield _waiting(known, record, at, since, None, is_held=is_held)
            continue
        since, ended, times = instant(record["queued"]), over(record), spans(record)
        if at < since:
            continue
        if not times or at < times[0].begin:
            yield _waiting(known, record, at, since, times[0].begin if times else None, is_held=is_held)
        elif ended is None or at < ended:
            before = [span for span in times if span.begin <= at]
            yield _retrying(record, len(before), times)


def _waited_since(record: Record, at: int) -> int | None:
    """Return when a run that was later skipped began to wait, or None if it did not wait at the instant `at`.

    If several skips share the record, the result describes the last skip.
    """
    end, since = given_up(record), instant(record["queued"])
    if record.get("count", 1) > 1:
        since = max(since, dues(record)[1])
    return since if end is not None and since <= at < end else None


def _waiting(known: Known, record: Record, at: int, queued: int, start: int | None, *, is_held: bool) -> AuditAnswer:
    waits = [(instant(it["since"]), it["for"]) for it in record.get("waits", ())]
    since, what = max((it for it in waits if it[0] <= at), default=(queued, ""))
    name = record["run"]
    later = "it still waits" if start is None else f"it started at {to_text(start)}"
    if (end := given_up(record)) is not None:
        later = f"it was skipped at {to_text(end)}: {record['reason']}"
    reasons, unknown = [f"{name} waited since {to_text(queued)}; {later}"], list[str]()
    if what and what != "?":
        reasons.append(f"{_word(known, record, at, what)}, since {to_text(since)}")
    elif what:
        unknown.append(f"why {name} waited at that time: there were too many changes to save them all")
    else:
        lacked = list(_lacked(known, record, at))
        reasons += lacked
        if not lacked and not is_held:
            unknown += _why_not(known, record, at, start)
    return AuditAnswer("waiting", name, reasons, unknown)


def _why_not(known: Known, record: Record, at: int, start: int | None) -> Iterator[str]:
    """Yield the unknown facts about a queued run that, according to its records, waited for nothing."""
    if start is not None and start - at <= _STARTING:
        return
    waited_for = record.get("waited_for")
    name = f"why {record['run']} waited at that time"
    if waited_for:
        yield f"{name}; during the whole wait, the run was missing {', '.join(waited_for)}"
    elif not known.has_all_others:
        yield f"{name}: not all live runs were examined"
    else:
        yield f"{name}: the cause was runs that went first, a command with a lock, or pressure on the host"


def _word(known: Known, record: Record, at: int, what: str) -> str:
    """Describe a run's wait; `what` is the recorded obstacle."""
    kind, _, name = what.partition(" ")
    match kind:
        case "dependency":
            return f"it waited for its dependency {name}"
        case "concurrency":
            others = [it["run"] for it in known.runs if it["run"] != record["run"] and _is_under_way(it, at)]
            return f"{known.job}'s concurrency was used up{_by(others)}"
        case "rate":
            return f"{known.job}'s rate was used up"
        case "paused":
            return f"{known.job} was paused"
        case "awaits":
            return "a run named in its `after` had not ended"
        case "max_runs":
            return f"{known.job}'s max_runs might have been used up by runs that were about to start"
        case "start":
            return "its start had failed for a reason outside the job, and a retry was pending"
        case "account_unknown":
            return f"the user or group of {known.job} was being looked up"
        case "fleet":
            return f"{known.job}'s fleet was unreachable"
        case "outdated":
            return f"the fleet had a newer definition of {known.job}"
        case "turn":
            return "other hosts of the fleet came first"
    return f"{known.job} was in no readable job file"


def _by(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = len(names) - _MOST_NAMED
    return f" by {', '.join(names[:_MOST_NAMED])}" + (f" and {more} more" if more > 0 else "")


def _is_under_way(record: Record, at: int) -> bool:
    """Return whether a run was queued, live, or waiting for another attempt at an instant."""
    if record["state"] == RunState.SKIPPED:
        return _waited_since(record, at) is not None
    ended = over(record)
    return instant(record["queued"]) <= at and (ended is None or at < ended)


def _retrying(record: Record, attempt: int, times: Sequence[AttemptSpan]) -> AuditAnswer:
    last = record["attempts"][attempt - 1]
    after = times[attempt].begin if attempt < len(times) else None
    then = "" if after is None else f"; the next began at {to_text(after)}"
    reason = f" ({last['reason']})" if last["reason"] else ""
    words = f"{record['run']} waited for its next attempt: attempt {attempt} had {last['state']}{reason}{then}"
    return AuditAnswer("retrying", record["run"], [words], [])


def lacked_claims(record: Record, live: Iterable[Record]) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """Yield the claims that a run could not get because of these live runs, each with its holders."""
    held: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    names = list[str]()
    for other in live:
        if other["run"] != record["run"]:
            names.append(other["run"])
            for claim in other.get("claims", ()):
                held.setdefault(claim["resource"], []).append((other["run"], claim))
    own = record.get("claims", ())
    for claim in own:
        holders = held.get(claim["resource"], [])
        if claim["resource"] == "host":
            if names:
                yield claim, names
            continue
        used = sum(it["units"] for _, it in holders)
        alone = any(it["mode"] == "exclusive" for _, it in holders)
        if holders and (
            alone or claim["mode"] == "exclusive" or (claim["units"] and used + claim["units"] > (claim["of"] or 1))
        ):
            yield claim, [name for name, _ in holders]
    if all(claim["resource"] != "host" for claim in own) and "host" in held:
        yield {"resource": "host", "mode": "shared", "units": 0, "of": 1}, [name for name, _ in held["host"]]


def _lacked(known: Known, record: Record, at: int) -> Iterator[str]:
    live = [it for it in known.others if any(span.covers(at) for span in spans(it))]
    for claim, holders in lacked_claims(record, live):
        match claim["resource"], claim["mode"]:
            case "host", "exclusive":
                yield f"it is exclusive, and other runs were live: {', '.join(holders[:_MOST_NAMED])}"
            case "host", _:
                yield f"an exclusive run was live: {holders[0]}"
            case "max_running", _:
                yield f"max_running {claim['of']} was used up{_by(holders)}"
            case resource, _ if resource.startswith(_TAG):
                tag = resource.removeprefix(_TAG)
                yield f"the limit of {claim['of']} live for the tag {tag} was used up{_by(holders)}"
            case resource, "units":
                yield f"it needs {claim['units']} of the {claim['of']} units of {resource}; held{_by(holders)}"
            case resource, _:
                yield f"lock {resource} was held{_by(holders)}"
