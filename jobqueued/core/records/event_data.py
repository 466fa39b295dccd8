"""Event data: a JSON object that an event's emitter passes to the triggered runs."""

from __future__ import annotations

from typing import Any

from jobqueued.child.contract.json_values import compact, flaws

MOST = 16 << 10
"""Limit on the text (bytes) that runs get as a variable."""
ACCEPTED = 'a JSON object such as {"version": 7}'


def text(data: dict[str, Any]) -> str:
    """Return an event's data as the text that runs get: one line of ASCII."""
    return compact(data)


def flaw(data: object) -> str:
    """Return the error in a value that should be event data, with its place in the value, or "" if the value is
    valid.
    """
    if not isinstance(data, dict):
        return f"found something else; expected {ACCEPTED}"
    if found := next(flaws(data, "data"), ""):
        return found
    if (size := len(text(data))) > MOST:
        return f"found {size:,} bytes; expected at most {MOST:,}; for more data, pass the path of a file"
    return ""
