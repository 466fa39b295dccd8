"""The data of an event: an object of JSON that whoever emits it gives to the runs that it makes due."""

from __future__ import annotations

from typing import Any

from jobqueued.child.json_values import compact, flaws

MOST = 16 << 10
"""Bytes of its text, as a variable of a run has it."""
ACCEPTED = 'an object of JSON such as {"version": 7}'


def text(data: dict[str, Any]) -> str:
    """The data as a run has them: one line of ASCII."""
    return compact(data)


def flaw(data: object) -> str:
    """Tell what is wrong with a value as data of an event, and where; "": nothing."""
    if not isinstance(data, dict):
        return f"found no object; accepted: {ACCEPTED}"
    if found := next(flaws(data, "data"), ""):
        return found
    size = len(text(data))
    return f"found {size:,} bytes; accepted: at most {MOST:,}; put more into a file and its path here" * (size > MOST)
