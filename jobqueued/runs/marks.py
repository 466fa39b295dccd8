"""The marks of R as the scheduler reads them: one reader for each, which never raises, whatever it finds.

mark    not there, empty or half                      nonsense, or of another version
spec    the launcher did not come to write it         as if it was not there, and a warning
pid     its supervisor did not come to write it       as if it was not there, and a warning
telemetry  none of its hooks has said anything        likewise
slurm   Slurm has said nothing of it yet              likewise
ended   it goes on; its supervisor is asked           it has ended and is lost, with what was found as the reason
lost    not there: it goes on; else the wait status   the wait status is not known
        is not known

Of `spawning` it counts only that it is there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import datetime
from types import NoneType
from typing import Any, cast

from jobqueued.child import wire
from jobqueued.child.documents import ENDS, UNSTARTED, LaunchSpec, Record, SlurmJob
from jobqueued.child.telemetry import Refused, said
from jobqueued.core.recollection import INT64, Damaged, Kinds, check, short
from jobqueued.core.record import owner_of, told_of
from jobqueued.model import Run, RunId, to_instant
from jobqueued.state.rows import claims_from, placed_from

IDENTITY = ("key", "due", "queued", "trigger", "asked_by", "triggered_by", "failover", "claims", "placed", "ends_by")
"""The fields of a Run that its launch spec carries, so that R alone can tell whose it is."""


def record(data: bytes, run: RunId) -> Record:
    """The record in R/ended; Damaged."""
    document = checked(_document(data), run)
    cast("dict[str, Any]", document).pop(wire.OVER, None)
    return document


def over(data: bytes) -> int | None:
    """The instant (CLOCK_BOOTTIME, ns) of R/ended; None: it does not tell, as those of older versions."""
    with contextlib.suppress(Damaged):
        document = _document(data)
        instant = document.get(wire.OVER) if isinstance(document, dict) else None
        return instant if isinstance(instant, int) and instant in INT64 else None
    return None


def checked(document: Any, run: RunId) -> Record:
    """A document as that record; Damaged."""
    check(document, _OF_A_RECORD)
    if (document["job"], document["number"], document["run"]) != (*run, str(run)):
        raise Damaged(f"it is of {short(document['run'])}")
    if document["state"] not in (*ENDS, UNSTARTED):
        raise Damaged(f"unknown state {short(document['state'])}")
    for attempt in document["attempts"]:
        check(attempt, _OF_AN_ATTEMPT)
    for told in (document, *document["attempts"]):
        _check_times(told)
    check(document["output"], _OF_AN_OUTPUT)
    return cast("Record", document)


def spec(data: bytes) -> LaunchSpec:
    """The launch spec in R/spec, checked as far as is read of it here: whose it is, and the record so far; Damaged."""
    document = _document(data)
    check(document, {"run": (dict,), "record": (dict,)})
    check(document["run"], _OF_AN_IDENTITY)
    check(document["record"], _OF_A_RECORD)
    return cast("LaunchSpec", document)


def telemetry(data: bytes) -> dict[str, Any]:
    """The object in R/telemetry, which hooks have said; Damaged."""
    try:
        return said(data.rstrip())
    except Refused as refusal:
        raise Damaged(str(refusal)) from None


def slurm(data: bytes) -> SlurmJob:
    """The job on Slurm that an attempt is, in R/slurm; Damaged."""
    document = _document(data)
    check(document, _OF_SLURM)
    return cast("SlurmJob", document)


def sent(data: bytes, run: RunId) -> Run:
    """The run of an attempt as it was sent, by R/spec, which may be an older version's; Damaged."""
    document = spec(data)
    told = document["run"]
    known = {field: told[field] for field in IDENTITY if field in told}
    try:
        claims, placed = claims_from(known.get("claims", ())), placed_from(known.get("placed", ()))
    except (TypeError, ValueError):
        raise Damaged("it has no such claims as there are") from None
    for claim in claims:
        check(claim._asdict(), _OF_A_CLAIM)
    if not all(isinstance(number, int) for _name, numbers in placed for number in numbers):
        raise Damaged(f"{short(placed)} is no placement")
    check({**_OLDER, **known}, _OF_THE_NEWER)
    so_far = _so_far(document["record"], run)
    more = {"claims": claims, "placed": placed, "so_far": so_far, "owner": owner_of(document["record"])}
    return Run(id=run, arrival=0, **{**known, **more})


def _so_far(begun: Record, run: RunId) -> Record | None:
    """The record of the attempts before, as it was before another began."""
    if not begun["attempts"]:
        return None
    last = begun["attempts"][-1]
    check(last, _OF_AN_ATTEMPT)
    return checked({**begun, "state": last["state"], "reason": last.get("reason")}, run)


def of_record(document: Record, run: RunId) -> Run:
    """The same, as far as the record of an attempt that has ended tells it; Damaged."""
    check(cast("Any", document), _OF_AN_OCCURRENCE)
    try:
        due, queued = (to_instant(datetime.fromisoformat(document[name])) for name in ("due", "queued"))
    except (TypeError, ValueError):
        raise Damaged(f"{short(document['due'])} is no due") from None
    return Run(
        id=run, key=document["key"], due=due, queued=queued, arrival=0, trigger=document["trigger"],
        asked_by=document["asked_by"], triggered_by=told_of(document), owner=owner_of(document),
    )  # fmt: skip


_OF_SLURM: Kinds = {"job": (int,), "node": (str,), "state": (str,), "reason": (str,)}
_NUMBER, _TEXT = (int, NoneType), (str, NoneType)
_OF_A_RECORD: Kinds = {
    "job": (str,), "run": (str,), "number": (int,), "state": (str,), "reason": _TEXT, "pid": _NUMBER,
    "exit_code": _NUMBER, "signal": _NUMBER, "started": _TEXT, "ended": _TEXT, "output": (dict,), "attempts": (list,),
}  # fmt: skip
_OF_AN_OCCURRENCE: Kinds = {"key": (str,), "due": (str,), "queued": (str,), "trigger": (str,), "asked_by": _TEXT}
_OF_AN_ATTEMPT: Kinds = {"attempt": (int,), "state": (str,), "started": _TEXT, "ended": _TEXT}
_OF_AN_OUTPUT: Kinds = {"file": _TEXT, "bytes": (int,), "dropped": _NUMBER, "tail": (str,)}
_OF_AN_IDENTITY: Kinds = {"key": (str,), "due": (int,), "queued": (int,), "trigger": (str,), "asked_by": _TEXT}
_OLDER = {"failover": False, "ends_by": None, "triggered_by": None}
_OF_THE_NEWER: Kinds = {"failover": (bool,), "ends_by": _NUMBER, "triggered_by": (dict, NoneType)}
"""What specs of older versions may lack, and what it has to be."""
_OF_A_CLAIM: Kinds = {"resource": (str,), "units": (int,), "exclusive": (bool, int)}


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Damaged("it is no JSON") from None


def _check_times(told: Mapping[str, Any]) -> None:
    for key in ("started", "ended"):
        if told[key] is not None:
            try:
                to_instant(datetime.fromisoformat(told[key]))
            except (TypeError, ValueError):
                raise Damaged(f"{short(told[key])} is no {key}") from None
