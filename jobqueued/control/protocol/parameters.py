"""Parsers for call parameters."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from jobqueued.base.instants import to_instant
from jobqueued.child.contract.documents import TriggeredBy
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.core.records import event_data, spans
from jobqueued.jobfile.tree.words import is_name
from jobqueued.model.run import RunId
from jobqueued.model.users import share_of

MOST_RUNS = 1000
"""Maximum number of runs in one reply about a job."""


def wrong(parameter: str) -> VarlinkError:
    """Return the refusal of an invalid parameter."""
    return VarlinkError("org.varlink.service.InvalidParameter", {"parameter": parameter})


def run_of(text: str) -> RunId:
    """Return the run with this name. Raises VarlinkError."""
    try:
        return RunId.parse(text)
    except ValueError:
        raise VarlinkError("NoSuchRun", {"run": text}) from None


def event_of(name: str) -> str:
    """Return the name of an event after a check; a user's event has a prefix, as in ``alice/done``.

    Raises VarlinkError.
    """
    if not is_name(name.removeprefix(f"{share_of(name)}/")):
        raise wrong("event")
    return name


def instant_of(asked: dict[str, Any], name: str) -> int | None:
    """Return the instant in this parameter, or None if it is missing. Raises VarlinkError."""
    try:
        return to_instant(datetime.fromisoformat(asked[name])) if name in asked else None
    except (ValueError, TypeError):  # TypeError if the time has no zone
        raise wrong(name) from None


def cause_of(asked: dict[str, Any], known: TriggeredBy | None = None) -> TriggeredBy | None:
    """Return the cause of a run: `known`, extended with the call's data and traceparent. Raises VarlinkError."""
    if "data" in asked and (flaw := event_data.flaw(asked["data"])):
        raise VarlinkError("Refused", {"reason": flaw})
    if "traceparent" in asked and not spans.is_traceparent(asked["traceparent"]):
        raise wrong("traceparent")
    given = {name: asked[name] for name in ("data", "traceparent") if name in asked}
    return cast("TriggeredBy", {**(known or {}), **given}) or None
