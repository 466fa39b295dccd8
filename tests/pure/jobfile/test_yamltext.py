"""yamltext: any bytes are a tree with places, or Problems a person can mend."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.jobfile.tree import yamltext
from jobqueued.jobfile.tree.yamltext import (
    Mapping,
    Node,
    Scalar,
    Sequence,
    YamlEntry,
    described,
    is_null,
    meaning,
    read_tree,
)

PARSERS = {"python": yaml.SafeLoader, "libyaml": getattr(yaml, "CSafeLoader", yaml.SafeLoader)}
ANY_TEXT = settings(deadline=None, max_examples=300)


@pytest.fixture(autouse=True, params=PARSERS.values(), ids=list(PARSERS))
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test holds with libyaml and with the pure parser."""
    monkeypatch.setattr(yamltext, "PARSER", request.param)


def messages(data: bytes) -> list[str]:
    return [str(problem) for problem in read_tree(data, "f")[1]]


def plain(node: Node) -> object:
    """What json would have made of it."""
    match node:
        case Scalar():
            return meaning(node)
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {name: plain(entry.value) for name, entry in node.entries.items()}


NO_ANCHOR = (
    "found an alias without its anchor; expected quotes around a value that starts with *, or an alias below its anchor"
)
BAD = [
    ("a: 1\nb: 2\na: 3\n", "f:3:1: found the key 'a' again; expected each key once (it is already on line 1)"),
    (
        "a: !!python/name:os x",
        "f:1:4: found the tag '!!python/name:os'; expected a value without a tag, or quotes around a value that "
        "starts with !",
    ),
    ("a: ! x", "f:1:4: found a tag; expected a value without a tag, or quotes around a value that starts with !"),
    (
        "a: &x {b: 1}\nc:\n  <<: *x\n",
        "f:3:3: found the merge key <<; expected `defaults` for keys that all jobs of the file share",
    ),
    ("a: 1\n---\nb: 1\n", "f:2:1: found a second document; expected one document per file"),
    ("? [a]\n: 1\n", "f:1:3: found a list as a key; expected a string"),
    ("%YAML 1.1\n---\na: no\n", "f:1:1: found a % directive; expected YAML 1.2 without directives"),
    ("a: *b", f"f:1:4: {NO_ANCHOR}"),
    ("a: &b [*b]", f"f:1:8: {NO_ANCHOR}"),
    ("a: &b 1\nc: &b [*b]", f"f:2:8: {NO_ANCHOR}"),
    ("a: */5 * * * *", 'f:1:4: found a value that starts with *; expected "*/5 * * * *"'),
    ("a: @daily", 'f:1:4: found a value that starts with @; expected "@daily"'),
    ("a: `date`", 'f:1:4: found a value that starts with `; expected "`date`"'),
    ("a: %H", 'f:1:4: found a value that starts with %; expected "%H"'),
    ("a:\n\tb: 1", "f:2:1: found a tab; expected spaces (`check --fix` replaces tabs at the start of a line)"),
    (
        "a: echo b: c",
        "f:1:10: found a colon inside a value; expected the value in quotes",
    ),
    ('a: "\\0"', "f:1:4: found an escape for U+0000; expected text without this character"),
    ("a: \x00", "f:1:4: found the character U+0000; expected UTF-8 text without it"),
    ("\ufeffa: 1", "f:1:1: found a byte order mark; expected UTF-8 text without it"),
    ("a: é\r\nb\x1b", "f:2:2: found the character U+001B; expected UTF-8 text without it"),
    ("a: " + "x" * yamltext.MAX_BYTES, "f: found more than 1 MiB; expected a file of at most 1 MiB"),
    ("[" * 33, "f:1:33: found more than 32 levels of nesting; expected at most 32"),
    ("- 1\n" * 100_000, "f:100000:3: found more than 100000 values (aliases count in full); expected at most 100000"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text[:12] for text, _ in BAD])
def test_says_what_is_wrong_and_where(text: str, message: str) -> None:
    """A mistake is named with its place, what was found and what is accepted."""
    assert [message] == messages(text.encode())


def test_bytes_that_are_no_utf8_have_a_place_too() -> None:
    """The place of a bad byte counts lines and characters, not bytes."""
    assert ["f:2:4: found the byte 0xff; expected UTF-8 text"] == messages("a: 1\né: ".encode() + b"\xff")


@pytest.mark.parametrize("text", ["a: [b", "a: 'it's'", "a: {b: c}}", 'a: "b', "a:\n  b: 1\n c: 2", "- a\nb: c"])
def test_what_is_no_yaml_is_one_problem(text: str) -> None:
    """Every other error of the parser is passed on with its place, or is told with its remedy."""
    (problem,) = read_tree(text.encode(), "f")[1]
    assert (True, True) == (problem.message.startswith(("this is not YAML: while ", "found ")), problem.line > 0)


def test_problems_are_collected() -> None:
    """One mistake does not hide the next."""
    assert ["f:1:5", "f:2:1", "f:3:4"] == [text.split(": ")[0] for text in messages(b"a: [!x 1]\na: 1\nb: !y 2\n")]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# nothing\n"])
def test_an_empty_file_is_no_tree(data: bytes) -> None:
    """A file without a document has neither a tree nor Problems."""
    assert (None, []) == read_tree(data, "f")


def test_each_node_has_its_place() -> None:
    """Lines and columns count from 1, in characters."""
    expected = Mapping(
        1,
        1,
        {
            "é": YamlEntry(Scalar(1, 1, "é", True), Scalar(1, 4, "x", False)),
            "b": YamlEntry(Scalar(2, 1, "b", True), Sequence(3, 1, [Scalar(3, 3, "1", True)])),
        },
    )
    assert (expected, []) == read_tree('é: "x"\nb:\n- 1\n'.encode(), "f")


MEANINGS = [
    ("no", "no"), ("on", "on"), ("off", "off"), ("yes", "yes"), ("12:30", "12:30"), ("2026-11-24", "2026-11-24"),
    ("0755", "0755"), ("-01", "-01"), ("00.5", "00.5"), ("1_000", "1_000"), ("0b1", "0b1"), ("1e", "1e"),
    ("0", 0), ("-5", -5), ("+5", 5), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("3.10", 3.1), (".5", 0.5),
    ("1e3", 1000.0), ("true", True), ("False", False), ("TRUE", True), ("tRue", "tRue"), ("null", None), ("~", None),
    ("", None), (".inf", math.inf), ("-.INF", -math.inf), ("1e999", math.inf),
    ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63)), ("9223372036854775808", math.inf),
    ("9" * 5000, math.inf),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), MEANINGS)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    """YAML 1.1's surprises are texts, numbers are numbers, and a leading zero is never one."""
    found = meaning(Scalar(1, 1, text, True))
    assert (value, type(value)) == (found, type(found))


@pytest.mark.parametrize("text", ["1", "true", "null", ""])
def test_quotes_make_a_text(text: str) -> None:
    """In quotes a scalar is its characters."""
    scalar = Scalar(1, 1, text, False)
    assert (text, False) == (meaning(scalar), is_null(scalar))


DESCRIPTIONS = [  # what is written, what is said
    ("", "nothing"), ("5", "5"), ("no", "'no'"), ("true", "true"), ('"5"', "the string '5' in quotes"), ('"x"', "'x'"),
    ("~", "~, which means nothing"), ("[]", "an empty list"),
    ("[1]", "a list"), ("{}", "an empty mapping"), ("{b: 1}", "a mapping"),
    ("0755", "'0755', a number with a leading zero"), ('"\\e[1m"', r"'\x1b[1m'"), ("x" * 99, "'" + "x" * 59 + "…'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "description"), DESCRIPTIONS)
def test_values_are_described_for_people(text: str, description: str) -> None:
    """A description is short, and nothing in it can steer a terminal."""
    root = read_tree(f"a: {text}".encode(), "f")[0]
    assert isinstance(root, Mapping)
    assert description == described(root.entries["a"].value)


def test_aliases_stand_for_their_anchors() -> None:
    """An alias is the node of its anchor, wherever that was written."""
    root = read_tree(b"a: &x [1, 2]\nb: *x\n", "f")[0]
    assert isinstance(root, Mapping)
    assert {"a": [1, 2], "b": [1, 2]} == plain(root)


def test_aliases_cannot_explode() -> None:
    """Nine levels of nine aliases are a Problem, not a billion nodes."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    (message,) = messages("\n".join(levels).encode())
    assert "found more than 100000 values (aliases count in full)" in message


def test_aliases_cannot_nest_deeper_than_the_limit() -> None:
    """Depth counts through aliases: no consumer ever recurses deeper than the limit."""
    chain = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 40)]
    (message,) = messages("\n".join(chain).encode())
    assert "found more than 32 levels of nesting" in message


def test_the_greatest_depth_is_accepted() -> None:
    """32 levels are accepted."""
    assert [] == messages(("[" * 32 + "]" * 32).encode())


@ANY_TEXT
@given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_problems(data: bytes) -> None:
    """No bytes raise."""
    root, problems = read_tree(data, "f")
    assert root is None or isinstance(root, Scalar | Sequence | Mapping)
    assert all(problem.message for problem in problems)


SIGNS = [
    "&a ",
    "*a",
    "!!str ",
    "!",
    "!<x%ff> ",
    "<<: ",
    "? ",
    ": ",
    "- ",
    "%YAML 1.2\n",
    "%TAG ! tag:x,2000:\n",
    "---\n",
]
ESCAPES = ["\\0", "\\ud800", "\\UFFFFFFFF", "...\n", "\r", "\x85", "é", "0755", "b:", "#x", "  "]
PIECES = st.sampled_from([*"a \n[]{},\"'>|\t@`~", *SIGNS, *ESCAPES])


@ANY_TEXT
@given(st.lists(PIECES, max_size=30))
def test_any_pieces_of_yaml_are_a_tree_or_problems(pieces: list[str]) -> None:
    """Nothing made of YAML's own signs raises, and no NUL or lone surrogate passes."""
    root, problems = read_tree("".join(pieces).encode(), "f")
    if root is not None and not problems:
        str(plain(root)).encode()
        assert "\\x00" not in repr(plain(root))


TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn", "Cf", "Cc", "Zl", "Zp"]), max_size=9)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab<~1 -", max_size=4), inner, max_size=4),
    max_leaves=12,
)


@ANY_TEXT
@given(JSON)
def test_json_is_read_as_json(value: object) -> None:
    """Every JSON text is YAML with the same meaning."""
    root, problems = read_tree(json.dumps(value, ensure_ascii=False).encode(), "f")
    assert root is not None
    assert (value, []) == (plain(root), problems)
