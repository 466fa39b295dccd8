"""OTLP's JSON as its specification and its protocol buffers have it: a request that is no such thing is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _hex(digits: int) -> Check:
    return lambda value: _text(value) and bool(re.fullmatch(f"[0-9a-f]{{{digits}}}", value)) and bool(int(value, 16))


def _fixed64(value: Any) -> bool:
    return _text(value) and value.isdecimal() and int(value) < 1 << 64


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _one_of(*values: int) -> Check:
    return lambda value: _number(value) and value in values


def _is(name: str) -> Check:
    return lambda value: not problems(name, value)


def _each(name: str) -> Check:
    return lambda value: isinstance(value, list) and not any(problems(name, each) for each in value)


MESSAGES: dict[str, dict[str, Check]] = {
    "ExportTraceServiceRequest": {"resourceSpans": _each("ResourceSpans")},
    "ResourceSpans": {"resource": _is("Resource"), "scopeSpans": _each("ScopeSpans"), "schemaUrl": _text},
    "Resource": {"attributes": _each("KeyValue")},
    "ScopeSpans": {"scope": _is("InstrumentationScope"), "spans": _each("Span"), "schemaUrl": _text},
    "InstrumentationScope": {"name": _text, "version": _text, "attributes": _each("KeyValue")},
    "Span": {
        "traceId": _hex(32), "spanId": _hex(16), "parentSpanId": _hex(16), "name": lambda v: _text(v) and bool(v),
        "kind": _one_of(1, 2, 3, 4, 5), "startTimeUnixNano": _fixed64, "endTimeUnixNano": _fixed64,
        "attributes": _each("KeyValue"), "status": _is("Status"),
    },
    "Status": {"code": _one_of(0, 1, 2), "message": _text},
    "KeyValue": {"key": lambda v: _text(v) and bool(v), "value": _is("AnyValue")},
    "AnyValue": {
        "stringValue": _text, "boolValue": lambda v: isinstance(v, bool), "doubleValue": _number,
        "intValue": lambda v: _text(v) and bool(re.fullmatch("-?[0-9]+", v)) and -(1 << 63) <= int(v) < 1 << 63,
        "arrayValue": _is("ArrayValue"),
    },
    "ArrayValue": {"values": _each("AnyValue")},
}  # fmt: skip
"""The messages that spans are made of, their fields in JSON and what these hold; there are more than we use."""
NEEDED = {
    "Span": {"traceId", "spanId", "name", "startTimeUnixNano", "endTimeUnixNano"}, "KeyValue": {"key", "value"},
}  # fmt: skip


def problems(name: str, value: Any) -> list[str]:
    """The fields of a message that are wrong or missing."""
    if not isinstance(value, dict):
        return [f"{name} is no object"]
    wrong = [f"{name}.{key}: {it!r}"[:200] for key, it in value.items() if not MESSAGES[name].get(key, _nothing)(it)]
    missing = [f"{name}.{key} is missing" for key in NEEDED.get(name, set()) - value.keys()]
    if name == "AnyValue" and len(value) != 1:
        missing.append(f"an AnyValue has {len(value)} values")
    if name == "KeyValue" or wrong or missing:
        return wrong + missing
    keys = [pair["key"] for pair in value.get("attributes", ())]
    doubles = [f"{name}: attributes twice"] if len(keys) > len(set(keys)) else []
    turned = name == "Span" and int(value["endTimeUnixNano"]) < int(value["startTimeUnixNano"])
    return doubles + ["a Span ends before it begins"] * turned


def _nothing(_value: Any) -> bool:
    return False


def spans(request: str | bytes) -> list[dict[str, Any]]:
    """The spans of a request, which is a right one: their attributes as a dict, and those of the resource."""
    document = json.loads(request)
    assert [] == problems("ExportTraceServiceRequest", document)
    return [
        {**span, "attributes": _values(span["attributes"]), "resource": _values(resource["resource"]["attributes"])}
        for resource in document["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def _values(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in pairs}


def _value(value: dict[str, Any]) -> Any:
    ((kind, it),) = value.items()
    if kind == "arrayValue":
        return [_value(each) for each in it["values"]]
    return int(it) if kind == "intValue" else it
