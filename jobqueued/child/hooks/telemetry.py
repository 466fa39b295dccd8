"""A run's telemetry: its hooks' output, merged into one JSON object in the run's record.

A hook prints an object, which is merged as in RFC 7396: objects are merged by key, null removes a key, and any other
value replaces the old value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobqueued.child.contract.json_values import compact, flaws, showable

START, SAMPLE, END = "start", "sample", "end"
MOMENTS = (START, SAMPLE, END)
"""The moments when hooks are called."""
MOST = 64 << 10
"""Maximum size (bytes) of a hook's output, and of the whole telemetry."""

Telemetry = dict[str, Any]


class TelemetryRefused(ValueError):
    """A hook's output can't be in a record; str() is the reason."""


def said(data: bytes) -> Telemetry:
    """Parse the object in a hook's output, or return {} for empty output. Raises TelemetryRefused."""
    if len(data) > MOST:
        raise TelemetryRefused(f"printed more than {MOST:,} bytes")
    try:
        text = data.decode()
        found = json.loads(text, object_pairs_hook=_once) if text.strip() else {}
    except UnicodeDecodeError as error:
        raise TelemetryRefused(f"printed bytes that are not UTF-8, the first after {error.start:,}") from None
    except json.JSONDecodeError as error:
        raise TelemetryRefused(
            f"printed invalid JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise TelemetryRefused("printed objects nested too deeply") from None
    except TelemetryRefused:
        raise
    except ValueError:  # a number with more digits than Python accepts
        raise TelemetryRefused(
            "printed a number of thousands of digits; expected one of at most 64 bits, or a string"
        ) from None
    return checked(found)


def checked(found: object) -> Telemetry:
    """Return an object in a form that records can contain. Raises TelemetryRefused."""
    if not isinstance(found, dict):
        raise TelemetryRefused(
            f'printed {_KINDS.get(type(found), "something else")}; expected an object such as {{"rows": 7}}'
        )
    if flaw := next(flaws(found, "telemetry"), ""):
        raise TelemetryRefused(f"printed a value that a record can't hold: {flaw}")
    kept: Telemetry = _shown(found)
    return kept


_KINDS = {
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _once(pairs: list[tuple[str, Any]]) -> Telemetry:
    found: Telemetry = {}
    for name, value in pairs:
        if name in found:
            raise TelemetryRefused(f"printed the key {json.dumps(name)[:40]} twice in one object")
        found[name] = value
    return found


def _shown(value: Any) -> Any:
    """Return the value with text that all readers of records accept. Raises TelemetryRefused if two keys are equal."""
    if isinstance(value, dict):
        return _once([(showable(name), _shown(item)) for name, item in value.items()])
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return showable(value) if isinstance(value, str) else value


def merged(telemetry: Mapping[str, Any], update: Mapping[str, Any]) -> Telemetry:
    """Merge another object into the telemetry. Raises TelemetryRefused if the result is too large."""
    found = _patched(telemetry, update)
    if (size := len(compact(found))) > MOST:
        raise TelemetryRefused(
            f"printed too much: the run would have {size:,} bytes of telemetry; expected at most {MOST:,}"
        )
    return found


def failed(name: str, moment: str = "", why: str = "") -> str:
    """Return the warning about a failed hook; without `moment`, return only its prefix."""
    return f"telemetry hook {name}, {moment}: {why}" if moment else f"telemetry hook {name}, "


def _patched(old: Mapping[str, Any], new: Mapping[str, Any]) -> Telemetry:
    """Return `old` changed by `new`: MergePatch of RFC 7396."""
    found = dict(old)
    for name, value in new.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            before = found.get(name)
            found[name] = _patched(before if isinstance(before, dict) else {}, value)
        else:
            found[name] = value
    return found
