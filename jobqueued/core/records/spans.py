"""Spans: IDs that let a tracing system join related runs (W3C Trace Context), without a tracing library.

A run is a span in the trace of its cause, or in a new trace. Each attempt is a child span of its run. Spans that the
command creates are children of the attempt.  https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from typing import TypedDict

from jobqueued.base.sha256 import sha256
from jobqueued.child.contract.documents import Record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.run import Run

_TRACE, _SPAN = 32, 16
"""Lengths of the IDs in hexadecimal digits."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


class SpanIds(TypedDict):
    """A run's IDs, as in its record."""

    trace_id: str
    span_id: str
    parent_span_id: str | None


def ids(run: Run, limits: HostLimits) -> SpanIds:
    """Return the IDs of a run. The IDs are derived from the host, the run's name, and when it was queued; this
    combination is unique.
    """
    drawn = sha256(f"{limits.machine}\0{limits.name}\0{run.id}\0{run.queued}".encode()).hexdigest()
    trace, span, parent = drawn[:_TRACE], drawn[_TRACE : _TRACE + _SPAN], None
    if run.triggered_by is not None and (caller := _TRACEPARENT.fullmatch(run.triggered_by.get("traceparent", ""))):
        trace, parent = caller.groups()
    return {"trace_id": trace, "span_id": span, "parent_span_id": parent}


def of_record(record: Record) -> SpanIds:
    """Return a run's IDs from its record; if an earlier version wrote the record without IDs, derive them from its
    fields.
    """
    if "trace_id" in record:
        parent = record.get("parent_span_id")
        return {"trace_id": record["trace_id"], "span_id": record["span_id"], "parent_span_id": parent}
    drawn = sha256(f"{record['host']}\0{record['run']}\0{record['queued']}".encode()).hexdigest()
    return {"trace_id": drawn[:_TRACE], "span_id": drawn[_TRACE : _TRACE + _SPAN], "parent_span_id": None}


def of_attempt(span: str, attempt: int) -> str:
    """Return the span ID of a run's attempt; attempt 0 is the wait before the first attempt."""
    return sha256(f"{span}.{attempt}".encode()).hexdigest()[:_SPAN]


def traceparent(trace: str, span: str) -> str:
    """Return a span as a `traceparent` header, with the flag that the trace is recorded."""
    return f"00-{trace}-{span}-01"


def is_traceparent(text: str) -> bool:
    """Return whether a string is a valid `traceparent` header."""
    return bool(_TRACEPARENT.fullmatch(text))
