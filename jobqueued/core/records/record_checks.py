"""The check of a record from a file, state.db or a run directory: its fields, their types, and its final state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, cast

from jobqueued.base.instants import to_instant
from jobqueued.child.contract.documents import ENDS, UNSTARTED, Record
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState


class Damaged(Exception):
    """A document is invalid; the message gives the reason."""


_NUMBER, _TEXT, _TEXT_OR_NONE = (int, NoneType), (str,), (str, NoneType)
Kinds = Mapping[str, tuple[type, ...]]
OF_AN_END: Kinds = {
    "job": _TEXT,
    "run": _TEXT,
    "number": (int,),
    "state": _TEXT,
    "reason": _TEXT_OR_NONE,
    "pid": _NUMBER,
    "exit_code": _NUMBER,
    "signal": _NUMBER,
    "started": _TEXT_OR_NONE,
    "ended": _TEXT_OR_NONE,
    "output": (dict,),
    "attempts": (list,),
}
"""The fields of a record that supervisors of all versions write at the end of an attempt."""
OF_AN_OCCURRENCE: Kinds = {
    "key": _TEXT,
    "due": _TEXT,
    "queued": _TEXT,
    "trigger": _TEXT,
    "asked_by": _TEXT_OR_NONE,
}
"""The additional fields of a record in a record file or in state.db."""
OF_AN_ATTEMPT: Kinds = {
    "attempt": (int,),
    "state": _TEXT,
    "started": _TEXT_OR_NONE,
    "ended": _TEXT_OR_NONE,
}
_OF_A_SKIP: Kinds = {"last_due": _TEXT, "count": (int,)}
_OF_A_REASON: Kinds = {"reason": _TEXT_OR_NONE}
_OF_AN_OUTPUT: Kinds = {"file": _TEXT_OR_NONE, "bytes": (int,), "dropped": _NUMBER, "tail": _TEXT}
_OF_AN_END, _INSTANTS = ("started", "ended"), ("due", "queued", "started", "ended", "last_due", "given_up")
INT64 = range(-1 << 63, 1 << 63)
"""The integers that state.db can hold."""


def checked(document: Any, run: RunId) -> Record:
    """Return a document as this run's record, after checking that the run was skipped, has ended, or is between two
    attempts.

    Raises Damaged if the document is no such record.
    """
    _check_record(document, run, {**OF_AN_END, **OF_AN_OCCURRENCE}, {**OF_AN_ATTEMPT, **_OF_A_REASON}, _INSTANTS)
    if document["state"] == RunState.SKIPPED:
        check(document, _OF_A_SKIP)
    elif not document["attempts"] or not {document["attempts"][-1]["state"], document["state"]} & ENDS:
        raise Damaged(f"it has no end: {short(document['state'])}")
    return cast("Record", document)


def checked_end(document: Any, run: RunId) -> Record:
    """Return a document as the record that a supervisor wrote after one of this run's attempts.

    Raises Damaged if the document is no such record.
    """
    _check_record(document, run, OF_AN_END, OF_AN_ATTEMPT, _OF_AN_END)
    if document["state"] not in (*ENDS, UNSTARTED):
        raise Damaged(f"unknown state {short(document['state'])}")
    return cast("Record", document)


def _check_record(document: Any, run: RunId, kinds: Kinds, of_attempt: Kinds, instants: Iterable[str]) -> None:
    """Check the fields of a record, of its attempts and of its output. Raises Damaged if any field is invalid."""
    check(document, kinds)
    if (document["job"], document["number"], document["run"]) != (*run, str(run)):
        raise Damaged(f"it belongs to {short(document['run'])}")
    for attempt in document["attempts"]:
        check(attempt, of_attempt)
    check(document["output"], _OF_AN_OUTPUT)
    for told in (document, *document["attempts"]):
        _check_instants(told, instants)


def check(document: Any, kinds: Kinds) -> None:
    """Check that a document is an object with all these keys, whose values have these types. Raises Damaged
    otherwise.
    """
    if not isinstance(document, dict):
        raise Damaged(f"{short(document)} is not an object")
    for key, kind in kinds.items():
        value = document.get(key, ...)
        if not isinstance(value, kind) or (isinstance(value, int) and value not in INT64):
            raise Damaged(f"{short(value)} is not a valid {key}" if key in document else f"it has no {key}")


def _check_instants(told: Mapping[str, Any], names: Iterable[str]) -> None:
    for key in names:
        try:
            if told.get(key) is not None:
                to_instant(datetime.fromisoformat(told[key]))
        except (ValueError, TypeError):
            raise Damaged(f"{short(told[key])} is not a valid {key}") from None


def short(value: object) -> str:
    """Return a short form of a value for a message."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
