"""The data of an event: a JSON object that the emitter passes to the runs that the event makes due."""

from __future__ import annotations

from typing import Any

from jobqueued.child.contract.json_values import compact, flaws

MOST = 16 << 10
"""Limit of the text (bytes), which runs get as a variable."""
ACCEPTED = 'an object of JSON such as {"version": 7}'


def text(data: dict[str, Any]) -> str:
    """Return the data as runs get them: one line of ASCII."""
    return compact(data)


def flaw(data: object) -> str:
    """Return what is wrong with a value as data of an event, and where, or "" if nothing is."""
    if not isinstance(data, dict):
        return f"found no object; expected {ACCEPTED}"
    if found := next(flaws(data, "data"), ""):
        return found
    if (size := len(text(data))) > MOST:
        return f"found {size:,} bytes; expected at most {MOST:,}; put more into a file, and its path here"
    return ""
