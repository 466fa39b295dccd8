"""The data of an event: what is taken, and what is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobqueued.child.contract.json_values import DEEPEST
from jobqueued.core.records import event_data
from jobqueued.core.records.event_data import MOST


def nested(levels: int) -> dict[str, Any]:
    """So many objects in one another."""
    data: dict[str, Any] = {}
    for _ in range(levels - 1):
        data = {"a": data}
    return data


FULL = {"a": "x" * (MOST - len('{"a":""}'))}


@pytest.mark.parametrize(
    "data",
    [{}, {"a": None, "": [True, 1.5, -(2**63), 2**64 - 1]}, {"a": "\0\n\ud800é"}, nested(DEEPEST), FULL],
    ids=["empty", "values", "text", "deepest", "full"],
)
def test_taken(data: dict[str, Any]) -> None:
    """Any object within the limits is, and its text is one line of ASCII that means the same."""
    assert "" == event_data.flaw(data)
    text = event_data.text(data)
    assert (True, False, data) == (text.isascii(), "\n" in text, json.loads(text))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "found something else; expected a JSON object"),
        (None, "found something else"), ("a", "found something else"),
        ({"a": [0, {"b c": float("inf")}]}, 'data["a"][1]["b c"]: found inf; expected a finite number'),
        ({"a": 2**64}, 'data["a"]: found a number of 20 digits'), ({"a": -(2**63) - 1}, 'data["a"]: found a number of'),
        (nested(DEEPEST + 1), f"found more than {DEEPEST} levels"),
        ({"a": [[]] * 9 + [nested(99)]}, 'data["a"][9]["a"]'),
        ({"a": FULL["a"] + "x"}, "found 16,385 bytes; expected at most 16,384"),
        ({"é" * 3000: 1}, "bytes; expected"),
    ],
)  # fmt: skip
def test_refused(data: object, words: str) -> None:
    """What no program could read, or what is too much, is told with its place."""
    assert words in event_data.flaw(data)
