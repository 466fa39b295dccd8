"""The data of an event: an object of JSON that whoever emits it gives to the runs that it makes due."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any

MOST = 16 << 10
"""Bytes of its text, as a variable of a run has it."""
DEEPEST = 16
"""Objects and lists in one another."""
_NUMBERS = range(-(2**63), 2**64)
"""Whole numbers that programs in other languages can read."""
_OF_A_KEY = 40
ACCEPTED = 'an object of JSON such as {"version": 7}'


def text(data: dict[str, Any]) -> str:
    """The data as a run has them: one line of ASCII."""
    return json.dumps(data, separators=(",", ":"))


def flaw(data: object) -> str:
    """Tell what is wrong with a value as data of an event, and where; "": nothing."""
    if not isinstance(data, dict):
        return f"found no object; accepted: {ACCEPTED}"
    if found := next(_flaws(data, "data", 1), ""):
        return found
    size = len(text(data))
    return f"found {size:,} bytes; accepted: at most {MOST:,}; put more into a file and its path here" * (size > MOST)


def _flaws(value: object, place: str, depth: int) -> Iterator[str]:
    items: Any = ()
    if isinstance(value, dict):
        items = ((f"[{json.dumps(key)[:_OF_A_KEY]}]", item) for key, item in value.items())
    elif isinstance(value, list):
        items = ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, float) and not isfinite(value):
        yield f"{place}: found {value}; accepted: a finite number"
    elif isinstance(value, int) and value not in _NUMBERS:
        yield f"{place}: found a number of {len(str(abs(value)))} digits; accepted: one of at most 64 bits, or a text"
    else:
        return
    if depth > DEEPEST:
        yield f"{place}: found more than {DEEPEST} levels; accepted: objects and lists at most so deep"
        return
    for below, item in items:
        yield from _flaws(item, f"{place}{below}", depth + 1)
