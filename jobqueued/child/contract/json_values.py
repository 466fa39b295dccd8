"""Checks JSON values from outside before they are saved, so that every reader of a record can read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

DEEPEST = 16
"""Maximum nesting of objects and lists."""
_NUMBERS = range(-(2**63), 2**64)
"""Whole numbers that programs in other languages can read."""
_INFINITE = float("inf")
_OF_A_KEY = 40
_WRITER = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_UNSHOWABLE = re.compile("[\0\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that JSON allows but some readers refuse."""


def showable(text: str) -> str:
    """Return the text with U+FFFD instead of characters that some readers of JSON refuse."""
    return _UNSHOWABLE.sub("\ufffd", text)


def line(document: object) -> str:
    """Return a document as one line of ASCII JSON, without checking for circular references."""
    return _WRITER.encode(document)


def compact(value: object) -> str:
    """Return a value as one line of ASCII JSON."""
    return json.dumps(value, separators=(",", ":"))


def flaws(value: object, place: str, depth: int = 1) -> Iterator[str]:
    """Yield the errors in a value with their places: ``data["a"][0]: found nan; …``."""
    items: Any = ()
    if isinstance(value, dict):
        items = ((f"[{json.dumps(key)[:_OF_A_KEY]}]", item) for key, item in value.items())
    elif isinstance(value, list):
        items = ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, float) and not -_INFINITE < value < _INFINITE:
        yield f"{place}: found {value}; expected a finite number"
    elif isinstance(value, int) and value not in _NUMBERS:
        yield f"{place}: found a number of {len(str(abs(value)))} digits; expected one of at most 64 bits, or a string"
    else:
        return
    if depth > DEEPEST:
        yield f"{place}: found more than {DEEPEST} levels of nesting; expected at most {DEEPEST}"
        return
    for below, item in items:
        yield from flaws(item, f"{place}{below}", depth + 1)
