"""JSON that we write: the same text, whether it is checked for circles or not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobqueued.child.contract.json_values import compact, line


@pytest.mark.parametrize("document", [{}, {"a": [1, 2.5, None, True], "b": {"c": "é\n\0"}}, {"x": [{}, {}] * 3}])
def test_one_line_of_ascii(document: dict[str, Any]) -> None:
    """A line is what `compact` makes of it, and reads as the document."""
    text = line(document)
    assert compact(document) == text
    assert text.isascii()
    assert "\n" not in text
    assert document == json.loads(text)


def test_the_same_object_twice() -> None:
    """What stands in two places is no circle."""
    shared = {"a": 1}
    assert '{"x":{"a":1},"y":[{"a":1},{"a":1}]}' == line({"x": shared, "y": [shared, shared]})
