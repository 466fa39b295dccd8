"""Spans as OTLP in JSON, in requests of limited size.

The format is https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hexadecimal, 64-bit integers as
text, enums as numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from jobqueued import __version__
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.export.run_spans import RunSpan, Value, of_run

MOST_SPANS, MOST_BYTES = 512, 1 << 20
"""Maximum number of spans, and of bytes, in a request. Runs are never split: a larger run gets a separate request."""
_INTERNAL, _CLIENT, _ERROR = 1, 3, 2
"""SPAN_KIND_INTERNAL; SPAN_KIND_CLIENT (for attempts, which start a program); STATUS_CODE_ERROR."""


class ExportRequest(NamedTuple):
    """A request: its text (ASCII), its numbers of runs and spans, and the latest time when a run was queued."""

    text: str
    runs: int
    spans: int
    newest: str


def batches(records: Iterable[Record]) -> Iterator[ExportRequest]:
    """Yield requests with the spans of these runs; keep only one request in memory."""
    kept = _Kept()
    for record in records:
        spans = [json.dumps(document(span), separators=(",", ":")) for span in of_run(record)]
        size = sum(map(len, spans))
        if kept.runs and (kept.spans + len(spans) > MOST_SPANS or kept.size + size > MOST_BYTES):
            yield kept.batch()
            kept = _Kept()
        kept.add(record, spans, size)
    if kept.runs:
        yield kept.batch()


class _Kept:
    """The next request so far, grouped by host name: records have several names if the host was renamed."""

    def __init__(self) -> None:
        self.runs = self.spans = self.size = 0
        self._by_host: dict[str, list[str]] = {}
        self._newest = ""

    def add(self, record: Record, spans: list[str], size: int) -> None:
        self._by_host.setdefault(record["host"], []).extend(spans)
        self.runs, self.spans, self.size = self.runs + 1, self.spans + len(spans), self.size + size
        self._newest = max(self._newest, record["queued"])

    def batch(self) -> ExportRequest:
        resources = ",".join(_of_host(host, spans) for host, spans in self._by_host.items())
        return ExportRequest(f'{{"resourceSpans":[{resources}]}}', self.runs, self.spans, self._newest)


def _of_host(host: str, spans: list[str]) -> str:
    resource = {"attributes": _attributes({"service.name": "jobqueued", "host.name": host})}
    scope = {"name": "jobqueued", "version": __version__}
    head = f'{{"resource":{json.dumps(resource)},"scopeSpans":[{{"scope":{json.dumps(scope)},"spans":['
    return f"{head}{','.join(spans)}]}}]}}"


def document(span: RunSpan) -> dict[str, Any]:
    """Return a span as an OTLP Span message."""
    return {
        "traceId": span.trace,
        "spanId": span.id,
        **({"parentSpanId": span.parent} if span.parent else {}),
        "name": span.name,
        "kind": _CLIENT if span.kind == "attempt" else _INTERNAL,
        "startTimeUnixNano": str(span.begin),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.facts),
        **({"status": {"code": _ERROR, "message": span.error}} if span.error else {}),
    }


def _attributes(facts: dict[str, Value]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in facts.items()]


def _value(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
    return {"arrayValue": {"values": [_value(each) for each in value]}}
