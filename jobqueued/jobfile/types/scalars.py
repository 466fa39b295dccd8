"""Types of a single scalar in YAML files: its accepted values, its reader, and its JSON Schema.

Where a string is expected, a number or a word such as ``true`` is read as written: ``command: [sleep, 5]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from jobqueued.jobfile.tree.yamltext import Node, Scalar, is_null, meaning, quoted
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.spelling import (
    DURATION,
    ODD_SPACE,
    SIZE,
    Instead,
    meant_duration,
    meant_size,
    name_of_space,
    nearest,
    parse_duration,
    parse_size,
)
from jobqueued.model.job import UNBOUNDED

Number = TypeVar("Number", int, float)
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ValueType:
    """A type of value: its name, its description for people, and `read`, which turns a node into a value or raises
    NotAccepted.

    `schema` is its JSON Schema, which accepts all values that `read` accepts, and may accept more. `keys` are the keys
    of a mapping with fixed keys.
    """

    name: str
    accepted: str
    read: Callable[[Node], Any]
    schema: Schema = field(repr=False)
    keys: dict[str, Key] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """A key; `default` and `example` are YAML. The default "" means that the key has no default.

    `planned`: the key is not implemented yet. Its values are checked, but a file that uses it is refused. `needs`:
    another key with the value without which a job can't have this key.
    """

    name: str
    type: ValueType
    default: str
    help: str
    example: str
    planned: bool = False
    needs: str = ""


def table(*keys: Key) -> dict[str, Key]:
    """Return keys by their names."""
    return {key.name: key for key in keys}


_NONE = ("none", "null")

_ANY_SCALAR: Schema = {"type": ["string", "number", "boolean"]}


def scalar(name: str, accepted: str, parse: Callable[[Scalar], Any], schema: Schema | None = None) -> ValueType:
    """Return a type of one scalar; `parse` raises ValueError for a wrong value, or Instead with a better spelling."""

    def read(node: Node) -> Any:
        if not isinstance(node, Scalar):
            raise NotAccepted(Refusal.of(node, accepted))
        try:
            return parse(node)
        except ValueError as error:
            meant = str(error) if isinstance(error, Instead) else ""
            meant = meant or _with_spaces(node, parse)
            refusal = Refusal.of(node, accepted, _spaced(node), meant)
            raise NotAccepted(refusal._replace(is_sure=_is_sure(node.text, meant))) from None

    return ValueType(name, accepted, read, _ANY_SCALAR if schema is None else schema)


def _is_sure(text: str, meant: str) -> bool:
    """Return whether `meant` is the only possible meaning.

    Return False if `meant` only adds to the text, such as a unit.
    """
    is_abbreviation = "/" in meant and text.isupper()  # part of a zone's name that other zones may share
    return bool(meant) and " or " not in meant and text not in meant and not is_abbreviation


def _with_spaces(node: Scalar, parse: Callable[[Scalar], Any]) -> str:
    """Return the text with odd spaces replaced or removed, or "" if `parse` does not accept the result."""
    for space in " ", "":
        text = re.sub(ODD_SPACE, space, node.text).strip()
        if text != node.text:
            with suppress(ValueError, NotAccepted):
                parse(node._replace(text=text))
                return text
    return ""


def _spaced(node: Scalar) -> str:
    odd = re.search(ODD_SPACE, node.text)
    return f"{quoted(node.text)} with {name_of_space(odd[0])}" if odd else ""


def optional(inner: ValueType, word: str = "none") -> ValueType:
    """Return the inner type, extended by a word for None. If the word is "none", null is accepted too."""
    words = _NONE if word == "none" else (word,)

    def read(node: Node) -> Any:
        if isinstance(node, Scalar) and node.text in words:
            return None
        return inner_or_word.read(node)

    accepted = f"{inner.accepted}, or {word}"
    inner_or_word = reworded(inner, accepted)
    schema = {"anyOf": [inner.schema, {"enum": [word, *([None] if word == "none" else [])]}]}
    return ValueType(inner.name, accepted, read, schema)


def or_unbounded(inner: ValueType) -> ValueType:
    """Return the inner type, extended by the word `none`, which means `UNBOUNDED` and not the default."""
    outer = optional(inner)

    def read(node: Node) -> int:
        value = outer.read(node)
        return UNBOUNDED if value is None else int(value)

    return replace(outer, read=read)


def integer(low: int, high: int) -> ValueType:
    """Return a type for whole numbers from `low` to `high`."""

    def parse(node: Scalar) -> int:
        number = meaning(node)
        if type(number) is not int:
            raise ValueError
        return _inside(low, number, high)

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return scalar("integer", f"a whole number from {low} to {high}", parse, schema)


def number(low: float, high: float) -> ValueType:
    """Return a type for numbers from `low` to `high`, read as float."""

    def parse(node: Scalar) -> float:
        value = meaning(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        return float(_inside(low, value, high))

    schema = {"type": "number", "minimum": low, "maximum": high}
    return scalar("number", f"a number from {low:g} to {high:g}", parse, schema)


def duration(low: str, high: str) -> ValueType:
    """Return a type for durations from `low` to `high`, read as nanoseconds."""
    examples = _within(parse_duration, low, high, "90s", "5m", "2h", "1d12h")
    accepted = f"a duration such as {examples}, from {low} to {high}"
    schema = {"type": "string", "pattern": _anchored(DURATION), "minLength": 1}
    return scalar("duration", accepted, _measure(parse_duration, meant_duration, low, high), schema)


def size(low: str, high: str) -> ValueType:
    """Return a type for sizes from `low` to `high`, read as bytes."""
    schema = {"anyOf": [{"type": "string", "pattern": _anchored(SIZE)}, {"const": 0}]}
    accepted = f"a size such as {_within(parse_size, low, high, '512K', '512M', '2G')}, from {low} to {high}"
    return scalar("size", accepted, _measure(parse_size, meant_size, low, high), schema)


def _within(parse: Callable[[str], int], low: str, high: str, *examples: str) -> str:
    """Return a phrase with the examples between two bounds, for messages."""
    *others, last = [one for one in examples if parse(low) <= parse(one) <= parse(high)]
    return f"{', '.join(others)} or {last}" if others else last


def _measure(parse: Callable[[str], int], meant: Callable[[str], str], low: str, high: str) -> Callable[[Scalar], int]:
    """Return a reader of numbers with units.

    The reader raises Instead with our spelling if it finds another program's spelling.
    """
    least, most = parse(low), parse(high)

    def read(node: Scalar) -> int:
        try:
            return _inside(least, parse(node.text), most)
        except ValueError:
            spellings = [one for one in meant(node.text).split(" or ") if one and least <= parse(one) <= most]
            if spellings:
                raise Instead(" or ".join(spellings)) from None
            raise

    return read


def choice(*words: str) -> ValueType:
    """Return a type that accepts one of these words; members of a StrEnum remain members."""
    values = {str(word): word for word in words}
    *others, last = values

    def parse(node: Scalar) -> str:
        if node.text not in values:
            raise Instead(nearest(node.text, values))
        return values[node.text]

    accepted = f"{', '.join(others)} or {last}" if others else last
    return scalar("choice", accepted, parse, {"enum": list(values)})


def text(accepted: str, pattern: str = "(?s).+", name: str = "text") -> ValueType:
    """Return a type for a string that the pattern matches completely."""

    def parse(node: Scalar) -> str:
        if is_null(node) or not re.fullmatch(pattern, node.text):
            raise ValueError
        return node.text

    known = {} if pattern.startswith("(?s)") else {"pattern": _anchored(pattern)}  # other dialects lack this flag
    return scalar(name, accepted, parse, {**_ANY_SCALAR, **known})


def url(accepted: str, *schemes: str, bare: bool = False) -> ValueType:
    """Return a type for ASCII URLs with one of these schemes and a host; `bare`: whether the URL must end after host
    and port.
    """

    def parse(node: Scalar) -> str:
        parts = urlsplit(node.text)
        port = parts.port  # raises ValueError if it is invalid
        if not (re.fullmatch(_ASCII, node.text) and parts.scheme in schemes and parts.hostname and port != 0):
            raise ValueError
        if bare and (parts.path or parts.query or parts.fragment):
            raise ValueError
        if "#" in node.text:
            raise NotAccepted(
                Refusal.of(node, f"{accepted}, without # and the text after it, because no server receives that")
            )
        return node.text

    pattern = f"^(?:{'|'.join(schemes)})://[^\\s/?#]+(?:[/?][^\\s#]*)?$"
    return scalar("text", accepted, parse, {"type": "string", "pattern": pattern})


_ASCII = "[!-~]+"


def _flag(node: Scalar) -> bool:
    value = meaning(node)
    if not isinstance(value, bool):
        raise Instead(_FLAGS.get(node.text.lower(), ""))
    return value


_FLAGS = {
    "true": "true",
    "yes": "true",
    "on": "true",
    "1": "true",
    "false": "false",
    "no": "false",
    "off": "false",
    "0": "false",
}
FLAG = scalar("boolean", "true or false", _flag, {"type": "boolean"})


def reworded(inner: ValueType, accepted: str) -> ValueType:
    """Return the inner type with another description, for use in a wider type."""

    def read(node: Node) -> Any:
        try:
            return inner.read(node)
        except NotAccepted as wrong:
            raise NotAccepted(*map(in_other_words, wrong.refusals)) from None

    def in_other_words(refusal: Refusal) -> Refusal:
        of_the_whole = not refusal.key and refusal.accepted == inner.accepted
        return refusal._replace(accepted=accepted) if of_the_whole else refusal

    return replace(inner, accepted=accepted, read=read)


def _inside(low: Number, value: Number, high: Number) -> Number:
    if not low <= value <= high:
        raise ValueError
    return value


def _anchored(pattern: str) -> str:
    """Return the pattern for JSON Schema, anchored because JSON Schema accepts a match anywhere."""
    return f"^(?:{pattern})$"
