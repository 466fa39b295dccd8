"""The parameters of calls, taken at their word or refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from jobqueued.control.varlink import VarlinkError
from jobqueued.core import event_data, spans
from jobqueued.jobfile.words import is_name
from jobqueued.model import RunId, TriggeredBy, to_instant
from jobqueued.users import share_of


def wrong(parameter: str) -> VarlinkError:
    """The refusal of a parameter that makes no sense."""
    return VarlinkError("org.varlink.service.InvalidParameter", {"parameter": parameter})


def run_of(text: str) -> RunId:
    """A run by its name."""
    try:
        return RunId.parse(text)
    except ValueError:
        raise VarlinkError("NoSuchRun", {"run": text}) from None


def event_of(name: str) -> str:
    """An event by its name, a user's behind the user's: ``alice/done``."""
    if not is_name(name.removeprefix(f"{share_of(name)}/")):
        raise wrong("event")
    return name


def instant_of(asked: dict[str, Any], name: str) -> int | None:
    """The instant of this parameter; None: it is not given."""
    try:
        return to_instant(datetime.fromisoformat(asked[name])) if name in asked else None
    except (ValueError, TypeError):  # TypeError: without a zone
        raise wrong(name) from None


def cause_of(asked: dict[str, Any], known: TriggeredBy | None = None) -> TriggeredBy | None:
    """All that a run is told of its cause beside what is `known`: data and traceparent of a call."""
    if "data" in asked and (flaw := event_data.flaw(asked["data"])):
        raise VarlinkError("Refused", {"reason": flaw})
    if "traceparent" in asked and not spans.is_traceparent(asked["traceparent"]):
        raise wrong("traceparent")
    given = {name: asked[name] for name in ("data", "traceparent") if name in asked}
    return cast("TriggeredBy", {**(known or {}), **given}) or None
