"""The bytes of a YAML file → a tree of nodes with line and column, or Problems.

The tree is built here from the parser's events, because load() and compose() recurse as deep as the input demands (100
kB of ``[`` crash Debian's libyaml), silently keep the last of two equal keys, and read plain scalars as YAML 1.1, where
``no`` is false, ``12:30`` is 750 and ``010`` is 8. This module uses YAML 1.2's core schema. Lines and columns count
from 1.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from jobqueued.base.problem import Problem
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.jobfile.tree.words import NOT_VALUE
from jobqueued.jobfile.tree.yamlparser import PARSER, MarkedYAMLError, YAMLError, events
from jobqueued.jobfile.tree.yamlslips import (
    MAX_DEPTH,
    TOO_DEEP,
    YamlFault,
    are_joined,
    position,
    syntax_fault,
    value_of_key,
)

MAX_BYTES, MAX_NODES = 1 << 20, 100_000
PART = 1 << 21
"""A number that is larger than any file's number of lines.

The lines of each drop-in start at a multiple of this number (drop_ins.py).
"""
NODES_A_STEP = 100
"""Number of nodes in one step, which takes about half a millisecond."""

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in small steps with a result of type T. The caller can do other work between two steps."""


def at_once(steps: Steps[T]) -> T:
    """Run all steps, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class Scalar(NamedTuple):
    """A scalar with its text. `plain`: the scalar has no quotes, so `meaning` may return a number.

    `joined`: several lines of the file became one, probably by mistake. `escaped`: the first escape in double quotes
    that became another character, or "" if none did: ``\\t``.
    """

    line: int
    column: int
    text: str
    plain: bool
    joined: bool = False
    escaped: str = ""


class Sequence(NamedTuple):
    """A list of nodes."""

    line: int
    column: int
    items: list[Node]


class Mapping(NamedTuple):
    """Entries by their key's text, in the file's order."""

    line: int
    column: int
    entries: dict[str, YamlEntry]


class YamlEntry(NamedTuple):
    """One key of a mapping and its value."""

    key: Scalar
    value: Node


Node = Scalar | Sequence | Mapping


def read_tree(data: bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """Return the root of the only document in `data`, and all its Problems. Never raises.

    The root is None if `data` is empty or not YAML. If there are Problems, use the tree only to find more Problems.
    """
    return at_once(read_tree_in_steps(data, file))


def read_tree_in_steps(data: bytes, file: str) -> Steps[tuple[Node | None, list[Problem]]]:
    """Read a tree as `read_tree` does, in steps."""
    ((root, problems),) = yield from read_trees_in_steps([(file, data)])
    return root, problems


def read_trees_in_steps(parts: Iterable[tuple[str, bytes]]) -> Steps[list[tuple[Node | None, list[Problem]]]]:
    """Read a file's parts, each with its path, in steps.

    The node limit applies to all parts together. The line numbers in part N start at N * `PART`; a Problem has the line
    number in its own file.
    """
    found, nodes = [], 0
    for number, (file, data) in enumerate(parts):
        faults: list[YamlFault] = []
        root: Node | None = None
        text = ""
        try:
            tree = _Tree(text := _decoded(data), faults, number * PART, nodes)
            root = yield from tree.root()
            nodes = tree.nodes
        except YamlFault as fatal:
            faults.append(fatal)
        except MarkedYAMLError as error:
            faults.append(syntax_fault(error, text))
        except (YAMLError, ValueError, OverflowError) as error:  # the pure parser raises the last two for escapes
            faults.append(YamlFault(0, 0, f"this is not YAML: {error}"))
        problems = [Problem(file, it.line, it.column, "", it.message, it.severity, code=it.code) for it in faults]
        found.append((root, problems))
    return found


def spans_of(text: str) -> dict[tuple[int, int], tuple[int, int]]:
    """Return (line, column) → begin and end of each one-line scalar, up to the first error in the text."""
    found, parser = dict[tuple[int, int], tuple[int, int]](), PARSER(text)
    with suppress(YAMLError, ValueError, OverflowError):
        while not isinstance(event := parser.get_event(), events.StreamEndEvent):
            start, end = event.start_mark, event.end_mark
            if isinstance(event, events.ScalarEvent) and start.line == end.line:
                found[start.line + 1, start.column + 1] = start.index, end.index
    return found


def meaning(scalar: Scalar) -> str | int | float | bool | None:
    """Return a scalar's value in YAML 1.2's core schema.

    A number with a leading zero remains text, because its meaning is ambiguous. An integer beyond 64 bits is infinite,
    like a float beyond its range.
    """
    text = scalar.text
    if not scalar.plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        number = int(text, 0) if len(text) <= _INTEGER_LENGTH else 1 << 64
        return number if -(1 << 63) <= number < 1 << 63 else math.inf
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(text) else text


def is_null(node: Node) -> bool:
    """Return whether a node is empty: ``key:``, ``~`` or ``null``."""
    return isinstance(node, Scalar) and node.plain and _WORDS.get(node.text, "") is None


def described(node: Node) -> str:
    """Describe a node for a message: ``nothing``, ``5``, ``'no'``, ``a list``. Only strings in a file have quotes."""
    match node:
        case Sequence():
            return "a list" if node.items else "an empty list"
        case Mapping():
            return "a mapping" if node.entries else "an empty mapping"
    value = meaning(node)
    if value is None:
        return f"{node.text}, which means nothing" if node.text else "nothing"
    if not node.plain and node.line and not isinstance(meaning(node._replace(plain=True)), str | None):
        return f"the string {quoted(node.text)} in quotes"
    if node.plain and re.fullmatch("[-+]?0[0-9]+", node.text):
        return f"{quoted(node.text)}, a number with a leading zero"
    return quoted(node.text) if isinstance(value, str) else node.text[:_SHOWN]


def quoted(text: str) -> str:
    """Return a string from the file for a message: quoted, escaped and shortened."""
    return repr(shortened(text))


def shortened(text: str) -> str:
    """Return a string's beginning for a message."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


_SHOWN = 60
_BLANKS = " \t"
_SCALAR: Any = events.ScalarEvent
_OF_YAML = "tag:yaml.org,2002:"
_INTEGER_LENGTH = len("-9223372036854775808")
_INTEGER = re.compile("[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMERAL = r"(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_FLOAT = re.compile(rf"[-+]?({_NUMERAL}|\.(inf|Inf|INF))|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

_NOT_TEXT = "\r(?!\n)|[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_LINE_ENDS = {"\r": "a carriage return alone", "\x85": "U+0085", "\u2028": "U+2028", "\u2029": "U+2029"}
"""Characters that only some programs treat as a line's end.

The rest of a comment after such a character could become a job.
"""
_UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|[\t\n\r -~]\0[\t\n\r -~]\0|\0[\t\n\r -~]\0[\t\n\r -~]")


def _decoded(data: bytes) -> str:
    """Decode UTF-8, and refuse characters that YAML forbids, because the parser's error would name only a byte."""
    if len(data) > MAX_BYTES:
        raise YamlFault(0, 0, "found more than 1 MiB; expected a file of at most 1 MiB", "JQ103")
    if _UTF_16.match(data):
        raise YamlFault(1, 1, "found UTF-16; expected UTF-8 text (see `Save as` in the editor)", "JQ102")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        message = f"found the byte 0x{data[error.start]:02x}; expected UTF-8 text"
        raise YamlFault(*position(data[: error.start].decode()), message, "JQ102") from None
    if text.replace("\n", "").isprintable():  # true of nearly all files
        return text
    odd = re.search(_NOT_TEXT, text)
    if odd and odd[0] in _LINE_ENDS:
        message = f"found {_LINE_ENDS[odd[0]]}, which not all programs read as the end of a line; expected a line feed"
        raise YamlFault(*position(text[: odd.start()]), message, "JQ102")
    if odd:
        name = "a byte order mark" if odd[0] == "\ufeff" else f"the character U+{ord(odd[0]):04X}"
        raise YamlFault(*position(text[: odd.start()]), f"found {name}; expected UTF-8 text without it", "JQ102")
    return text


class _Tree:
    """Builds a text's nodes; errors that do not stop the builder are added to `faults`."""

    def __init__(self, text: str, faults: list[YamlFault], lines: int, nodes: int) -> None:
        """`lines` is added to each node's line; `nodes` is the number of nodes in earlier parts."""
        self._text, self._lines = text, lines
        self._faults = faults
        self._next: Callable[[], Any] = PARSER(text).get_event
        self._anchors: dict[str, Node] = {}
        self._unused: dict[str, Any] = {}
        """Anchor that no alias has used yet → its event"""
        self.nodes = self._rested = nodes

    def root(self) -> Steps[Node | None]:
        self._next()
        start = self._next()
        if isinstance(start, events.StreamEndEvent):
            return None
        if start.version or start.tags:
            self._refuse(start, "found a % directive; expected YAML 1.2 without directives")
        root = yield from self._node(self._next(), 1)
        self._next()
        if not isinstance(end := self._next(), events.StreamEndEvent):
            raise _fault(end, "found a second document; expected one document per file", "JQ105")
        for name, event in self._unused.items():
            hint = f"quotes around a value that starts with &, or the value without &{name[:_SHOWN]}"
            self._refuse(event, f"found &{name[:_SHOWN]}, which no *{name[:_SHOWN]} uses; expected {hint}")
        return root

    def _refuse(self, event: Any, message: str, code: str = "JQ105") -> None:
        self._faults.append(_fault(event, message, code))

    def _node(self, event: Any, depth: int) -> Steps[Node]:
        if isinstance(event, events.AliasEvent):
            return self._aliased(event, depth)
        self._count(event, depth)
        if self.nodes >= self._rested + NODES_A_STEP:
            self._rested = self.nodes
            yield
        if event.anchor is None and event.tag is None:
            return (yield from self._bare(event, depth))
        if event.tag is not None:
            known = event.tag.startswith(_OF_YAML)  # any other value may be an unquoted password
            tag = f"the tag {quoted(event.tag.replace(_OF_YAML, '!!', 1))}" if known else "a tag"
            self._refuse(
                event, f"found {tag}; expected a value without a tag, or quotes around a value that starts with !"
            )
        self._anchors.pop(event.anchor, None)
        node = yield from self._bare(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
            self._unused[event.anchor] = event
        return node

    def _leaf(self, event: Any, depth: int) -> Scalar | None:
        """Return an event's scalar at once, which is the usual case, or None if `_node` must handle the event."""
        if type(event) is not _SCALAR or event.anchor or event.tag or (style := event.style) == '"':
            return None
        nodes = self.nodes + 1
        if nodes >= self._rested + NODES_A_STEP or nodes > MAX_NODES or depth > MAX_DEPTH:  # a pause, or an error
            return None
        self.nodes = nodes
        start, end = event.start_mark, event.end_mark
        if start.line != end.line or self._text[end.index : end.index + 1] in _BLANKS:
            return self._scalar(event)
        fields = (self._lines + start.line + 1, start.column + 1, sys.intern(event.value), not style, False, "")
        return tuple.__new__(Scalar, fields)  # faster than the constructor, which matters because there are many nodes

    def _bare(self, event: Any, depth: int) -> Steps[Node]:
        mark = event.start_mark
        if isinstance(event, events.ScalarEvent):
            if event.style == '"' and (odd := re.search(NOT_VALUE, event.value)):
                message = f"found an escape for U+{ord(odd[0]):04X}; expected text without this character"
                self._refuse(event, message, "JQ102")
            return self._scalar(event)
        if isinstance(event, events.SequenceStartEvent):
            return Sequence(self._lines + mark.line + 1, mark.column + 1, (yield from self._items(depth + 1)))
        return Mapping(self._lines + mark.line + 1, mark.column + 1, (yield from self._entries(depth + 1)))

    def _scalar(self, event: Any) -> Scalar:
        """Return an event's scalar with `joined` and `escaped`. Warn if a comment may be part of the value."""
        start, end = event.start_mark, event.end_mark
        plain, value = not event.style, sys.intern(event.value)  # jobs repeat many texts
        if start.line == end.line and event.style != '"' and self._text[end.index : end.index + 1] not in " \t":
            return Scalar(self._lines + start.line + 1, start.column + 1, value, plain)  # the usual case
        raw = self._text[start.index : end.index] if end.line > start.line or event.style == '"' else ""
        if plain and (lost := _LOST.match(self._text, end.index)) and self._text[end.index - 1] != "#":
            message = (
                f"found {quoted(lost[1])} after the value, which YAML reads as a comment; "
                "expected quotes around the whole value, or a space after the # of a comment"
            )
            column = lost.start(1) - self._text.rfind("\n", 0, lost.start(1))
            self._faults.append(YamlFault(end.line + 1, column, message, "JQ108", "warning"))
        escape = _ESCAPE.search(_PLAIN_ESCAPE.sub("", raw)) if event.style == '"' else None
        return Scalar(
            self._lines + start.line + 1,
            start.column + 1,
            value,
            plain,
            event.style != "|" and are_joined(raw.splitlines()),
            escape[0] if escape else "",
        )

    def _items(self, depth: int) -> Steps[list[Node]]:
        items: list[Node] = []
        while type(event := self._next()) is not events.SequenceEndEvent:
            items.append(self._leaf(event, depth) or (yield from self._node(event, depth)))
        return items

    def _entries(self, depth: int) -> Steps[dict[str, YamlEntry]]:
        entries: dict[str, YamlEntry] = {}
        following, leaf = self._next, self._leaf
        while type(first := following()) is not events.MappingEndEvent:
            key: Scalar | None = leaf(first, depth)
            if key is None or key.text == "<<" or key.text in entries:
                key = self._key(key or (yield from self._first_node(first, depth)), first, entries)
            event = following()
            value = leaf(event, depth) or (yield from self._node(event, depth))
            if key is not None:
                entries[key.text] = YamlEntry(key, value_of_key(self._text, key, value, first))
        return entries

    def _first_node(self, event: Any, depth: int) -> Steps[Node]:
        """Return a mapping's key that `_leaf` did not return; refuse an unrendered template."""
        if isinstance(event, events.MappingStartEvent) and self._is_template(event):
            message = (
                "found {{, a template that was not rendered; expected the rendered file, or quotes around the value"
            )
            raise _fault(event, message, "JQ106")
        return (yield from self._node(event, depth))

    def _key(self, key: Node, event: Any, entries: dict[str, YamlEntry]) -> Scalar | None:
        if not isinstance(key, Scalar):
            self._refuse(event, f"found {described(key)} as a key; expected a string")
        elif key.plain and key.text == "<<":
            self._refuse(event, "found the merge key <<; expected `defaults` for keys that all jobs of the file share")
        elif first := entries.get(key.text):
            where = f"it is already on line {first.key.line - self._lines}"
            self._refuse(event, f"found the key {quoted(key.text)} again; expected each key once ({where})", "JQ104")
        else:
            return key
        return None

    def _is_template(self, event: Any) -> bool:
        index = event.start_mark.index
        return self._text[max(0, index - 1) : index + 1] == "{{"

    def _aliased(self, event: Any, depth: int) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            hint = "quotes around a value that starts with *, or an alias below its anchor"
            raise _fault(event, f"found an alias without its anchor; expected {hint}", "JQ105")
        self._unused.pop(event.anchor, None)
        self._count_again(node, event, depth)
        return node

    def _count_again(self, node: Node, event: Any, depth: int) -> None:
        """Count all nodes that an alias refers to, so that aliases of aliases can't exhaust the memory."""
        self._count(event, depth)
        if isinstance(node, Sequence):
            for item in node.items:
                self._count_again(item, event, depth + 1)
        elif isinstance(node, Mapping):
            for entry in node.entries.values():
                self._count(event, depth + 1)
                self._count_again(entry.value, event, depth + 1)

    def _count(self, event: Any, depth: int) -> None:
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise _fault(event, TOO_DEEP, "JQ103")
        if self.nodes > MAX_NODES:
            message = f"found more than {MAX_NODES} values (aliases count in full); expected at most {MAX_NODES}"
            raise _fault(event, message, "JQ103")


_LOST = re.compile(r"[ \t]+(#[^\s#!-][^\n]*)")
"""A word with a leading # after a value. In comments a space usually follows the #, so ``#42`` is probably text."""
_PLAIN_ESCAPE = re.compile(r"""\\["\\/ \n]""")
_ESCAPE = re.compile(r"\\.")


def _fault(event: Any, message: str, code: str) -> YamlFault:
    return YamlFault(event.start_mark.line + 1, event.start_mark.column + 1, message, code)
