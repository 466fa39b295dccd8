"""Values written as YAML: whatever a text is, our own reader takes it for the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.exchange.yaml_values import Written, comment, lines, of_node
from jobqueued.jobfile.tree.yamltext import Mapping, read_tree

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


def read(value: Any) -> Any:
    """The value that a key gets when its lines are read."""
    tree, problems = read_tree(("\n".join(["top:", *lines("key", value, "  ")]) + "\n").encode(), "f")
    assert [] == problems
    assert isinstance(tree, Mapping)
    return of_node(tree)["top"]["key"]


def plain(value: Any) -> Any:
    """A value as texts."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return str(value)


@given(TEXTS)
def test_a_text_is_the_same_when_it_is_read(text: str) -> None:
    """And it is a text, even where it looks like a number, a flag or nothing."""
    assert (text, True) == (read(text), not isinstance(read(text), Written) or text == str(read(text)))


@given(st.lists(TEXTS, max_size=6) | st.dictionaries(TEXTS.filter(lambda key: key != "<<"), TEXTS, max_size=6))
def test_lists_and_mappings_are_the_same(value: Any) -> None:
    """On one line, or on several."""
    assert plain(value) == plain(read(value))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("/usr/bin/true -x", "key: /usr/bin/true -x"),
        ("", "key: ''"),
        ("12", "key: '12'"),
        ("true", "key: 'true'"),
        ("null", "key: 'null'"),
        ("echo: x", "key: 'echo: x'"),
        ("a #b", "key: 'a #b'"),
        ("it's", "key: 'it''s'"),
        ("a\tb", "key: 'a\tb'"),
        ("a\x1b[0m", 'key: "a\\u001b[0m"'),
        ("a\x85b", 'key: "a\\u0085b"'),
        ("one\ntwo\n", "key: |\n  one\n  two"),
        ("one\n\ntwo", "key: |-\n  one\n\n  two"),
        (" one\ntwo\n", 'key: " one\\ntwo\\n"'),
        (1000, "key: 1000"),
        (True, "key: true"),
        (Written("0x1F"), "key: 0x1F"),
        ({"PATH": "/usr/bin:/bin", "A": "b c"}, "key: {PATH: /usr/bin:/bin, A: 'b c'}"),
        (["a", "b,c"], "key: [a, 'b,c']"),
    ],
)
def test_values_are_written_as_a_person_would(value: Any, written: str) -> None:
    """Without quotes where none are needed, with single ones where they do, in lines where it has lines."""
    assert written == "\n".join(lines("key", value, ""))


@given(st.text(max_size=40))
def test_a_comment_is_one_line_and_no_more(text: str) -> None:
    """Nothing in a comment can become a key, or be refused."""
    told = comment(text, "  ")
    tree, problems = read_tree(f"{told}\na: b\n".encode(errors="replace"), "f")
    assert [] == problems
    assert {"a": "b"} == of_node(tree) if tree else False
