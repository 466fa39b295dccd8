"""Telemetry: what a hook may say, what of it is refused and why, and how it is merged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.child.contract.json_values import DEEPEST, compact
from jobqueued.child.hooks.telemetry import MOST, TelemetryRefused, merged, said

DEEP = '{"a":' * DEEPEST + "1" + "}" * DEEPEST
FULL = '{"a":"' + "x" * (MOST - len('{"a":""}')) + '"}'


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"", {}),
        (b" \n\t", {}),
        (b"{}", {}),
        (b'\n {"a": {"b": [1, 2.5, null, "x"]}}\n', {"a": {"b": [1, 2.5, None, "x"]}}),
        ('{"\u00e9": "\u20ac"}'.encode(), {"\u00e9": "\u20ac"}),
        (b'{"a": "x\\ud800\\u0000y", "\\uffff": 1}', {"a": "x\ufffd\ufffdy", "\ufffd": 1}),
        (b'{"a": 18446744073709551615, "b": -9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
        (DEEP.encode(), json.loads(DEEP)),
        (FULL.encode(), json.loads(FULL)),
    ],
    ids=["nothing", "blank", "empty", "values", "UTF-8", "characters", "numbers", "deepest", "full"],
)
def test_taken(output: bytes, expected: dict[str, Any]) -> None:
    """An object within the limits is taken as it is, but for characters that some reader of records would refuse."""
    assert expected == said(output)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b"rows=7", "printed invalid JSON: Expecting value in line 1, column 1"),
        (b'{"a": 1}\n{"a": 2}', "printed invalid JSON: Extra data in line 2, column 1"),
        (b'{"a": 1', "printed invalid JSON"),
        (b"\xef\xbb\xbf{}", "printed invalid JSON: Unexpected UTF-8 BOM"),
        (b'{"a": "\xff"}', "printed bytes that are not UTF-8, the first after 7"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"[1]", "printed a list; expected an object"),
        (b"7", "printed a number"),
        (b"7.5", "printed a number"),
        (b'"x"', "printed a string"),
        (b"true", "printed true or false"),
        (b"null", "printed null"),
        (b'{"a": NaN}', 'telemetry["a"]: found nan; expected a finite number'),
        (b'{"a": [-Infinity]}', 'telemetry["a"][0]: found -inf'),
        (b'{"a": 1e999}', 'telemetry["a"]: found inf'),
        (b'{"a": 18446744073709551616}', "found a number of 20 digits"),
        (b'{"a": %s}' % (b"9" * 5000), "printed a number of thousands of digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', 'printed the key "c" twice'),
        (rb'{"a": [{"\u0000": 2, "\ud800": 3}]}', 'printed the key "\\ufffd" twice'),
        (b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1), f"found more than {DEEPEST} levels"),
        (b"[" * 30_000 + b"]" * 30_000, "nested too deeply"),
        (b'{"a": "%s"}' % (b"x" * MOST), "printed more than 65,536 bytes"),
    ],
)
def test_refused(output: bytes, words: str) -> None:
    """Whatever is no such object is refused, with words that fit a line."""
    with pytest.raises(TelemetryRefused) as refused:
        said(output)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 200


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_output(output: bytes) -> None:
    """Whatever a hook says is taken, and then a record can hold it, or refused."""
    try:
        found = said(output)
    except TelemetryRefused:
        return
    assert found == json.loads(json.dumps(found, allow_nan=False).encode())
    json.dumps(found, ensure_ascii=False).encode()  # no lone surrogate


@pytest.mark.parametrize(
    ("before", "update", "expected"),
    [  # the examples of RFC 7396, appendix A, as far as both are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "b"}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_merged(before: dict[str, Any], update: dict[str, Any], expected: dict[str, Any]) -> None:
    """Objects are merged key by key, null takes away, all else replaces; what was there stays as it was for others."""
    kept = json.loads(json.dumps(before))
    assert (expected, kept) == (merged(before, update), before)


def test_all_of_it_is_bounded() -> None:
    """What would make it too much is refused as a whole; what takes away is not."""
    full = merged({}, said(FULL.encode()))
    assert MOST == len(compact(full))
    with pytest.raises(TelemetryRefused, match="65,542 bytes of telemetry; expected at most 65,536"):
        merged(full, {"b": 1})
    assert {"b": 1} == merged(full, {"a": None, "b": 1})
