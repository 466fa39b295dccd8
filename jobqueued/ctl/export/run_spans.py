"""A run's spans, from its record: one for the run (from its due time to its end), its wait, and each attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jobqueued.base.instants import to_instant
from jobqueued.child.contract.documents import AttemptRecord, Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records import spans
from jobqueued.model.run_states import FAILURES

Value = str | bool | int | float | Sequence[str]
_LONGEST = 4096
"""Maximum number of characters in a string, and of strings in a list, in a span."""
_WAIT = 0
_USED = ("cpu_user", "cpu_system", "memory_peak", "memory_mean", "tasks_peak", "io_read", "io_write", "throttled")


class RunSpan(NamedTuple):
    """A span of a run; times are instants (wall, ns). `kind` is run, wait or attempt. `facts` contain no null."""

    kind: str
    name: str
    trace: str
    id: str
    parent: str | None
    begin: int
    end: int
    error: str | None
    """The reason for a bad end, or None."""
    facts: dict[str, Value]


def of_run(record: Record) -> list[RunSpan]:
    """Return the spans of an ended run; the run's own span comes first and contains the others."""
    ids = spans.of_record(record)
    trace, own = ids["trace_id"], ids["span_id"]
    due = _instant(record["due"])
    attempts = [_attempt(record, attempt, trace, own) for attempt in record["attempts"]]
    started = [span.begin for span in attempts]
    start = max(due, min(started, default=due))
    queued = min(max(due, _instant(record["queued"])), start)
    wait = RunSpan(
        "wait",
        "wait",
        trace,
        spans.of_attempt(own, _WAIT),
        own,
        queued,
        start,
        None,
        _facts({"jobqueue.waited_for": record.get("waited_for")}),
    )
    last = record["ended"] or record.get("last_due")
    ends = [span.end for span in (wait, *attempts)] + ([_instant(last)] if last else [])
    run = RunSpan(
        "run",
        record["job"],
        trace,
        own,
        ids["parent_span_id"],
        min([due, *started]),
        max(ends),
        _error(record),
        _facts(_of_run(record)),
    )
    return [run, *([wait] if wait.end > wait.begin else []), *attempts]


def _attempt(record: Record, attempt: AttemptRecord, trace: str, run: str) -> RunSpan:
    """Return the span of an attempt; an unknown start or end makes the span as short as possible."""
    begin = _instant(attempt["started"] or record["started"] or record["queued"])
    end = max(begin, _instant(attempt["ended"])) if attempt["ended"] else begin
    number = attempt["attempt"]
    own = attempt.get("span_id") or spans.of_attempt(run, number)
    name = "failover" if attempt.get("failover") else "attempt"
    return RunSpan("attempt", name, trace, own, run, begin, end, _error(attempt), _facts(_of_attempt(record, attempt)))


def _of_run(record: Record) -> dict[str, Any]:
    names = ("job", "run", "state", "reason", "trigger", "asked_by", "priority", "effective_priority", "tags")
    own: Mapping[str, Any] = record
    many = record.get("count") or 1
    found = {f"jobqueue.{name}": own.get(name) for name in names}
    return {**found, "jobqueue.count": many if many > 1 else None, **_failure(record)}


def _of_attempt(record: Record, attempt: AttemptRecord) -> dict[str, Any]:
    """Return an attempt's facts: the process under OpenTelemetry's names, its usage under the names in records."""
    own: Mapping[str, Any] = attempt
    command = None if attempt.get("failover") else record["command"]
    return {
        "jobqueue.run": record["run"],
        "jobqueue.attempt": attempt["attempt"],
        "jobqueue.state": attempt["state"],
        "jobqueue.reason": attempt["reason"],
        "process.pid": attempt.get("pid"),
        "process.exit.code": attempt.get("exit_code"),
        "jobqueue.signal": attempt.get("signal"),
        "process.owner": record["user"],
        "jobqueue.warnings": attempt.get("warnings"),
        **_failure(attempt),
        "process.command_line" if isinstance(command, str) else "process.command_args": command,
        **{f"jobqueue.{name}": own.get(name) for name in _USED},
    }


def _failure(ended: Record | AttemptRecord) -> dict[str, Any]:
    return {"error.type": ended["state"] if ended["state"] in FAILURES else None}


def _error(ended: Record | AttemptRecord) -> str | None:
    return _cut(ended["reason"] or ended["state"]) if ended["state"] in FAILURES else None


def _facts(found: Mapping[str, Any]) -> dict[str, Value]:
    """Return the facts that are not null, with limited lengths."""
    return {name: _bounded(value) for name, value in found.items() if value is not None and value != []}


def _bounded(value: Any) -> Value:
    if isinstance(value, str):
        return _cut(value)
    return [_cut(text) for text in value[:_LONGEST]] if isinstance(value, list | tuple) else value


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _instant(text: str) -> int:
    return to_instant(datetime.fromisoformat(text))
