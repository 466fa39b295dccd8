"""Runs of a file: a record in JSON a line, or what `watch --json` or `history --json` has printed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import NoneType
from typing import IO, Any

from jobqueued.ctl.chart_runs import STATES
from jobqueued.model import Record

_TEXT, _NUMBER, _LIST = (str, NoneType), (int, float, NoneType), (list, NoneType)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "job": (str,), "number": (int,), "state": (str,), "due": (str,), "queued": _TEXT, "started": _TEXT, "ended": _TEXT,
    "last_due": _TEXT, "reason": _TEXT, "held_by": _TEXT, "trigger": _TEXT, "asked_by": _TEXT, "waited_for": _LIST,
    "tags": _LIST, "attempts": _LIST, "cpu_user": _NUMBER, "cpu_system": _NUMBER, "memory_peak": (int, NoneType),
    "count": (int, NoneType), "command": (str, list, NoneType),
}  # fmt: skip
"""The fields that a chart needs or may have; None: missing, too."""
_TEXTS = ("tags", "waited_for", "command")
_TIMES = ("due", "queued", "started", "ended", "last_due")


_ENDS = ("started", "ended")


class NoRecord(ValueError):
    """A line, or a document, that is none of runs; the text tells where."""


def records(source: IO[str]) -> Iterator[Record]:
    """Yield the runs of a file, in any order; NoRecord."""
    for number, line in enumerate(source, 1):
        text = line + source.read() if number == 1 and line.strip() == "{" else line
        if text.strip():
            try:
                yield from _of(json.loads(text))
            except (ValueError, RecursionError) as error:
                raise NoRecord(f"line {number}: no record of a run: {error}") from None


def _of(document: Any) -> Iterator[Record]:
    if isinstance(document, dict) and isinstance(document.get("runs"), list):
        for record in document["runs"]:
            yield _checked(record)
    elif isinstance(document, dict) and "event" in document:
        if document["event"] == "run_ended":
            yield _checked(document.get("record"))
    else:
        yield _checked(document)


def _checked(record: Any) -> Record:
    """The record, if it has what a chart needs of it; ValueError."""
    if not isinstance(record, dict):
        raise ValueError("it is no object")
    told = record.get
    wrong = [name for name, kinds in _TYPES.items() if not isinstance(told(name), kinds)]
    wrong += [name for name in _TEXTS if any(not isinstance(text, str) for text in told(name) or ())]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} missing, or of the wrong type")
    if not all(_is_attempt(it) for it in told("attempts") or ()):
        raise ValueError("attempts have no times")
    if record["state"] not in STATES:
        raise ValueError(f"there is no state {record['state']!r}")
    for name in _TIMES:
        if not _is_moment(told(name)):
            raise ValueError(f"{name} has no zone")
    found: Record = record  # type: ignore[assignment]
    return found


def _is_attempt(it: Any) -> bool:
    return isinstance(it, dict) and all(isinstance(it.get(name), _TEXT) and _is_moment(it.get(name)) for name in _ENDS)


def _is_moment(text: str | None) -> bool:
    return not text or datetime.fromisoformat(text).tzinfo is not None
