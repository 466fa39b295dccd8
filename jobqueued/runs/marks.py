"""The marks of R as the scheduler reads them, with one function for each mark.

    mark    missing, empty or partial                     nonsense, or of another version
    spec    the launcher had not written it               as if missing, with a warning
    pid     its supervisor had not written it             as if missing, with a warning
    telemetry  no hook has printed anything               as if missing, with a warning
    slurm   Slurm has reported nothing yet                as if missing, with a warning
    ended   it is live; its supervisor is asked           it ended and is lost; the reason has what was found
    lost    missing: it is live; else                     the wait status is unknown
            the wait status is unknown

`spawning` counts only by its existence.
"""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from types import NoneType
from typing import Any, cast

from jobqueued.base.instants import to_instant
from jobqueued.child.contract import reasons, wire
from jobqueued.child.contract.documents import LaunchSpec, Record, SlurmJob
from jobqueued.child.hooks.telemetry import TelemetryRefused, said
from jobqueued.core.records.record import extra_cause, owner_of
from jobqueued.core.records.record_checks import (
    INT64,
    OF_AN_ATTEMPT,
    OF_AN_END,
    OF_AN_OCCURRENCE,
    Damaged,
    Kinds,
    check,
    checked_end,
    short,
)
from jobqueued.model.run import Run, RunId
from jobqueued.state.db.rows import claims_from, placed_from

IDENTITY = ("key", "due", "queued", "trigger", "asked_by", "triggered_by", "failover", "claims", "placed", "ends_by")
"""Fields of a Run that are also in its launch spec, so that R alone identifies the run."""


def record(data: bytes, run: RunId) -> Record:
    """Return the record in R/ended. Raises Damaged if it is invalid."""
    document = checked_end(_document(data), run)
    cast("dict[str, Any]", document).pop(wire.OVER, None)
    return document


def over(data: bytes) -> int | None:
    """Return the instant (CLOCK_BOOTTIME, ns) in R/ended, or None if R/ended has none, as in older versions."""
    with contextlib.suppress(Damaged):
        document = _document(data)
        instant = document.get(wire.OVER) if isinstance(document, dict) else None
        return instant if isinstance(instant, int) and instant in INT64 else None
    return None


def spec(data: bytes) -> LaunchSpec:
    """Return the launch spec in R/spec; its run and its record so far are checked. Raises Damaged if the spec is
    invalid.
    """
    document = _document(data)
    check(document, {"run": (dict,), "record": (dict,)})
    check(document["run"], _OF_AN_IDENTITY)
    check(document["record"], OF_AN_END)
    return cast("LaunchSpec", document)


def telemetry(data: bytes) -> dict[str, Any]:
    """Return the object in R/telemetry. Raises Damaged if it is invalid."""
    try:
        return said(data.rstrip())
    except TelemetryRefused as refusal:
        raise Damaged(str(refusal)) from None


def slurm(data: bytes) -> SlurmJob:
    """Return an attempt's job on Slurm, from R/slurm. Raises Damaged if it is invalid."""
    document = _document(data)
    check(document, _OF_SLURM)
    return cast("SlurmJob", document)


def sent(data: bytes, run: RunId) -> Run:
    """Return an attempt's run as it was launched, from an R/spec of this or an older version. Raises Damaged if the
    spec is invalid.
    """
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
    """Return the record from before this attempt started, or None if there was no earlier attempt."""
    if not begun["attempts"]:
        return None
    last = begun["attempts"][-1]
    check(last, OF_AN_ATTEMPT)
    return checked_end({**begun, "state": last["state"], **reasons.fields(reasons.of_record(last))}, run)


def of_record(document: Record, run: RunId) -> Run:
    """Return the run of an ended attempt, with the fields that the attempt's record has. Raises Damaged if the record
    is invalid.
    """
    check(cast("Any", document), OF_AN_OCCURRENCE)
    try:
        due, queued = (to_instant(datetime.fromisoformat(document[name])) for name in ("due", "queued"))
    except (TypeError, ValueError):
        raise Damaged(f"{short(document['due'])} is no due") from None
    return Run(
        id=run,
        key=document["key"],
        due=due,
        queued=queued,
        arrival=0,
        trigger=document["trigger"],
        asked_by=document["asked_by"],
        triggered_by=extra_cause(document),
        owner=owner_of(document),
    )


_OF_SLURM: Kinds = {"job": (int,), "node": (str,), "state": (str,), "reason": (str,)}
_NUMBER, _TEXT = (int, NoneType), (str, NoneType)
_OF_AN_IDENTITY: Kinds = {"key": (str,), "due": (int,), "queued": (int,), "trigger": (str,), "asked_by": _TEXT}
_OLDER = {"failover": False, "ends_by": None, "triggered_by": None}
_OF_THE_NEWER: Kinds = {"failover": (bool,), "ends_by": _NUMBER, "triggered_by": (dict, NoneType)}
"""Fields that specs of older versions may not have, with their types."""
_OF_A_CLAIM: Kinds = {"resource": (str,), "units": (int,), "exclusive": (bool, int)}


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Damaged("it is no JSON") from None
