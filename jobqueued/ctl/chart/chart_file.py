"""Runs from a file: one JSON record per line, or the --json output of `watch`, `history` or `--fleet history`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from jobqueued.base.instants import INSTANTS, to_datetime
from jobqueued.child.contract.documents import Record
from jobqueued.ctl.chart.chart_runs import OF_HOST, STATES
from jobqueued.model.job import MAX_DIGITS

_TEXT, _LIST, _INTEGER, _NUMBER, _LINE = (str,), (list,), (int,), (int, float), (str, list)
_Kinds = Mapping[str, tuple[type, ...]]
_ATTEMPT: _Kinds = {
    **dict.fromkeys(("started", "ended", "state", "reason", "span_id"), _TEXT),
    **dict.fromkeys(("attempt", "pid", "exit_code", "signal", "memory_peak", "memory_mean", "tasks_peak"), _INTEGER),
    **dict.fromkeys(("io_read", "io_write"), _INTEGER),
    "warnings": _LIST,
    **dict.fromkeys(("cpu_user", "cpu_system", "throttled"), _NUMBER),
}
_RECORD: _Kinds = {
    **_ATTEMPT,
    **dict.fromkeys(("job", "due", "queued", "last_due", "run", "host", "user", "held_by"), _TEXT),
    **dict.fromkeys(("given_up", "trigger", "asked_by", "trace_id", "parent_span_id"), _TEXT),
    "owner": (dict,),
    "command": _LINE,
    "number": _INTEGER,
    "count": _INTEGER,
    "priority": _NUMBER,
    "effective_priority": _NUMBER,
    **dict.fromkeys(("waited_for", "tags", "attempts", "claims"), _LIST),
}
_CLAIM: _Kinds = {"resource": _TEXT, "mode": _TEXT, "units": _INTEGER}
_OWNER: _Kinds = {"name": _TEXT}
"""Field of an owner → checked type; the next tables are for other objects in a record. Null counts as missing."""
_NEEDED = ("job", "number", "state", "due")
_TEXTS = frozenset({"tags", "waited_for", "command", "warnings"})
_TIMES = frozenset({"due", "queued", "started", "ended", "last_due", "given_up"})
_FIRST, _LAST = to_datetime(0), to_datetime(INSTANTS.stop)
_MOST = 1 << 52
"""Maximum of all numbers in a record except `number`, so that time differences (ms) fit into 64 bits."""
_USUALLY = (0, _MOST)
_BOUNDS = {
    "number": (1, 10**MAX_DIGITS),
    **dict.fromkeys(("exit_code", "priority", "effective_priority"), (-_MOST, _MOST)),
}
_LACKING: Mapping[str, Any] = {
    "trigger": "",
    "host": "",
    "user": None,
    "command": None,
    "reason": None,
    "exit_code": None,
    "started": None,
    "ended": None,
    "span_id": "",
    "tags": [],
}
"""Field → default. The daemon's records always have these fields; records in other files may lack them."""
_LACKING_ATTEMPT: Mapping[str, Any] = {"started": None, "ended": None, "state": None, "reason": None}


class NoRecord(ValueError):
    """Raised if a line or document is not a run's record; the message contains the place."""


def records(source: IO[str]) -> Iterator[Record]:
    """Yield the records in a file, in the file's order. Bytes that are not UTF-8 must be surrogates.

    Raises NoRecord.
    """
    for number, text in _lines(source):
        if text.strip():
            try:
                _require_unicode(text)
                document = json.loads(text)
                if "\\ud" in text or "\\uD" in text:  # possibly half of a surrogate pair
                    _require_unicode(json.dumps(document, ensure_ascii=False))
                yield from _of(document)
            except (ValueError, RecursionError) as error:
                raise NoRecord(f"line {number}: not a run record: {error}") from None


def _lines(source: IO[str]) -> Iterator[tuple[int, str]]:
    """Yield each line with its number. If the file is one JSON document, yield the whole file as line 1."""
    number = 0
    try:
        for number, line in enumerate(source, 1):
            yield number, line + source.read() if number == 1 and line.strip() == "{" else line
    except OSError as error:
        raise NoRecord(f"line {number + 1}: can't be read: {error.strerror}") from None


def _of(document: Any) -> Iterator[Record]:
    if isinstance(document, dict) and isinstance(document.get("runs"), list):
        is_of_hosts = isinstance(document.get("hosts"), dict)
        for record in document["runs"]:
            yield checked(record, is_of_hosts=is_of_hosts)
    elif isinstance(document, dict) and "event" in document:
        if document["event"] == "run_ended":
            yield checked(document.get("record"))
    else:
        yield checked(document)


def checked(record: Any, *, is_of_hosts: bool = False) -> Record:
    """Return the record with defaults for missing fields, if every checked field is valid. Raises ValueError.

    `is_of_hosts` means that the record comes from `--fleet history --json`, and names its host's job.
    """
    _require(record, _RECORD, needed=(*_NEEDED, "host") if is_of_hosts else _NEEDED)
    record.pop(OF_HOST, None)
    if is_of_hosts:
        record[OF_HOST] = record["host"]
    if record["state"] not in STATES:
        raise ValueError(f"found state {record['state']!r}, which does not exist")
    if not record["due"]:
        raise ValueError("due is empty")
    for claim in record.get("claims") or ():
        _require(claim, _CLAIM, "claims: ", _CLAIM)
    if record.get("owner") is not None:
        _require(record["owner"], _OWNER, "owner: ", _OWNER)
    record["attempts"] = record.get("attempts") or []
    for nth, attempt in enumerate(record["attempts"], 1):
        _require(attempt, _ATTEMPT, "attempts: ")
        _fill(attempt, {**_LACKING_ATTEMPT, "attempt": nth})
    record["queued"] = record.get("queued") or record["due"]
    _fill(record, {**_LACKING, "run": f"{record['job']}@{record['number']}"})
    found: Record = record
    return found


def _fill(it: dict[str, Any], lacking: Mapping[str, Any]) -> None:
    for name, value in lacking.items():
        if it.get(name) is None:
            it[name] = value


def _require(it: Any, kinds: _Kinds, where: str = "", needed: Collection[str] = ()) -> None:
    """Raise ValueError if `it` is not an object, does not have a required field, or has an invalid field."""
    if not isinstance(it, dict):
        raise ValueError(f"{where}it is not an object")
    wrong = [name for name in needed if it.get(name) is None]
    for name, value in it.items():
        if value is None or (kind := kinds.get(name)) is None:
            continue
        if type(value) not in kind or (name in _TEXTS and any(type(text) is not str for text in value)):
            wrong.append(name)
        elif kind is _INTEGER or kind is _NUMBER:
            least, above = _BOUNDS.get(name, _USUALLY)
            if not least <= value < above:
                raise ValueError(f"{where}{name} is out of range")
        elif name in _TIMES and value:
            _require_moment(where + name, value)
    if wrong:
        raise ValueError(f"{where}{', '.join(wrong)} missing, or of the wrong type")


def _require_moment(name: str, text: str) -> None:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no time zone")
    if not _FIRST <= moment < _LAST:
        raise ValueError(f"{name} is not in the years 1970 to 2199")


def _require_unicode(text: str) -> None:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8") from None
