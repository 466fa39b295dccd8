"""Types of values in YAML files: what each accepts, how it is read, and what JSON Schema says of it.

Where a text is wanted, a number or a word such as ``true`` means its characters as written: ``command: [sleep, 5]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, TypeVar

from jobqueued.jobfile.refusal import NotAccepted, Refusal
from jobqueued.jobfile.spelling import (
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
    plain_name,
)
from jobqueued.jobfile.yamltext import (
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    is_null,
    meaning,
    quoted,
)

MAX_PROBLEMS = 100  # of one file; who looks for more helps nobody, and each costs a search for the nearest key

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ValueType:
    """A type of value: its name, what is accepted (for people), and `read`: its node → the value, or NotAccepted.

    `schema` is the part of JSON Schema for it: it accepts whatever `read` does, and maybe a little more.  `keys` are
    those of a mapping whose keys are fixed.
    """

    name: str
    accepted: str
    read: Callable[[Node], Any]
    schema: Schema = field(repr=False)
    keys: dict[str, Key] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `default` and `example` are YAML; the default "" means that there is none.

    `planned`: its values are checked, but nothing carries it out yet; so a file that uses it is refused.
    """

    name: str
    type: ValueType
    default: str
    help: str
    example: str
    planned: bool = False


def table(*keys: Key) -> dict[str, Key]:
    """Keys by their names."""
    return {key.name: key for key in keys}


def read_keys(
    entries: dict[str, Entry], keys: dict[str, Key], elsewhere: dict[str, str] | None = None
) -> tuple[dict[str, Any], list[Refusal]]:
    """The values that are right, by the name of their key, and what is wrong with the others.

    `elsewhere` has the words that other programs use, plain as `plain_name` makes them, and our key, or a sentence.
    """
    values: dict[str, Any] = {}
    refusals: list[Refusal] = []
    for name, (key, node) in entries.items():
        if len(refusals) >= MAX_PROBLEMS:
            break
        if name not in keys:
            refusals.append(_unknown(key, keys, elsewhere or {}))
        elif keys[name].planned:
            refusals.append(Refusal.of(key, "the file without it", _PLANNED).below(name))
        else:
            try:
                values[name] = keys[name].type.read(node)
            except NotAccepted as wrong:
                refusals += [refusal.below(name) for refusal in wrong.refusals]
    return values, refusals


_NONE = ("none", "null")

# ── one value ──

_ANY_SCALAR: Schema = {"type": ["string", "number", "boolean"]}


def scalar(name: str, accepted: str, parse: Callable[[Scalar], Any], schema: Schema | None = None) -> ValueType:
    """A type of one scalar; `parse` raises ValueError for what it does not accept, Instead with a better spelling."""

    def read(node: Node) -> Any:
        if not isinstance(node, Scalar):
            raise NotAccepted(Refusal.of(node, accepted))
        try:
            return parse(node)
        except ValueError as error:
            meant = str(error) if isinstance(error, Instead) else ""
            raise NotAccepted(Refusal.of(node, accepted, _spaced(node), meant or _with_spaces(node, parse))) from None

    return ValueType(name, accepted, read, _ANY_SCALAR if schema is None else schema)


def _with_spaces(node: Scalar, parse: Callable[[Scalar], Any]) -> str:
    """The text with plain spaces, or none, for those that only look so, where it is accepted then; else ""."""
    for space in " ", "":
        text = ODD_SPACE.sub(space, node.text).strip()
        if text != node.text:
            with suppress(ValueError):
                parse(node._replace(text=text))
                return text
    return ""


def _spaced(node: Scalar) -> str:
    odd = ODD_SPACE.search(node.text)
    return f"{quoted(node.text)} with {name_of_space(odd[0])}" if odd else ""


def optional(inner: ValueType, word: str = "none") -> ValueType:
    """The inner type, or a word (and with "none" also null), which is None."""
    words = _NONE if word == "none" else (word,)

    def read(node: Node) -> Any:
        if isinstance(node, Scalar) and node.text in words:
            return None
        return inner_or_word.read(node)

    accepted = f"{inner.accepted}, or {word}"
    inner_or_word = _reworded(inner, accepted)
    schema = {"anyOf": [inner.schema, {"enum": [word, *([None] if word == "none" else [])]}]}
    return ValueType(inner.name, accepted, read, schema)


def integer(low: int, high: int) -> ValueType:
    """A whole number from `low` to `high`."""

    def parse(node: Scalar) -> int:
        number = meaning(node)
        if type(number) is not int:
            raise ValueError
        return _inside(low, number, high)

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return scalar("integer", f"a whole number from {low} to {high}", parse, schema)


def number(low: float, high: float) -> ValueType:
    """A number from `low` to `high`, as a float."""

    def parse(node: Scalar) -> float:
        value = meaning(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        return float(_inside(low, value, high))

    schema = {"type": "number", "minimum": low, "maximum": high}
    return scalar("number", f"a number from {low:g} to {high:g}", parse, schema)


def duration(low: str, high: str) -> ValueType:
    """Nanoseconds from `low` to `high`."""
    accepted = f"a duration such as 90s, 5m, 2h or 1d12h, from {low} to {high}"
    schema = {"type": "string", "pattern": _anchored(DURATION), "minLength": 1}
    return scalar("duration", accepted, _measure(parse_duration, meant_duration, low, high), schema)


def size(low: str, high: str) -> ValueType:
    """Bytes from `low` to `high`."""
    schema = {"anyOf": [{"type": "string", "pattern": _anchored(SIZE)}, {"const": 0}]}
    accepted = f"a size such as 512K, 512M or 2G, from {low} to {high}"
    return scalar("size", accepted, _measure(parse_size, meant_size, low, high), schema)


def _measure(parse: Callable[[str], int], meant: Callable[[str], str], low: str, high: str) -> Callable[[Scalar], int]:
    """Reads a number with units; what is spelled as elsewhere is answered with our spelling."""
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
    """One of a few words; members of a StrEnum stay what they are."""
    values = {str(word): word for word in words}
    *others, last = values

    def parse(node: Scalar) -> str:
        if node.text not in values:
            raise Instead(nearest(node.text, values))
        return values[node.text]

    accepted = f"{', '.join(others)} or {last}" if others else last
    return scalar("choice", accepted, parse, {"enum": list(values)})


def text(accepted: str, pattern: str = "(?s).+", name: str = "text") -> ValueType:
    """A text that matches as a whole."""
    shape = re.compile(pattern)

    def parse(node: Scalar) -> str:
        if is_null(node) or not shape.fullmatch(node.text):
            raise ValueError
        return node.text

    known = {} if pattern.startswith("(?s)") else {"pattern": _anchored(shape)}  # other dialects lack this flag
    return scalar(name, accepted, parse, {**_ANY_SCALAR, **known})


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

# ── several values ──


def sequence(item: ValueType, *, least: int = 1) -> ValueType:
    """`least` or more values of a type, as a tuple."""
    accepted = f"a list, each item {item.accepted}"

    def read(node: Node) -> tuple[Any, ...]:
        if not isinstance(node, Sequence) or len(node.items) < least:
            raise NotAccepted(Refusal.of(node, accepted))
        return tuple(each(((f"[{index}]", child) for index, child in enumerate(node.items)), item.read))

    schema = {"type": "array", "items": item.schema, "minItems": least}
    return ValueType(f"list of {item.name}", accepted, read, schema, item.keys)


def one_or_more(item: ValueType, *, least: int = 1) -> ValueType:
    """One value of a type, or a list of `least` or more of them: a tuple either way."""
    several = sequence(item, least=least)
    accepted = f"{item.accepted}, or a list of them"
    single = _reworded(item, accepted)

    def read(node: Node) -> tuple[Any, ...]:
        if isinstance(node, Sequence):
            return tuple(several.read(node))
        try:
            return (single.read(node),)
        except NotAccepted as wrong:
            raise NotAccepted(*(_as_list(node, refusal, several) for refusal in wrong.refusals)) from None

    return ValueType(f"{item.name} or list", accepted, read, {"anyOf": [item.schema, several.schema]}, item.keys)


def _as_list(node: Node, refusal: Refusal, several: ValueType) -> Refusal:
    """The refusal of one value, with the list that was meant where it has commas."""
    if not isinstance(node, Scalar) or "," not in node.text or refusal.meant:
        return refusal
    words = [word.strip() for word in node.text.split(",")]
    try:
        several.read(Sequence(node.line, node.column, [node._replace(text=word) for word in words]))
    except NotAccepted:
        return refusal
    return refusal._replace(meant=f"[{', '.join(words)}]")


def either(simple: ValueType, structured: ValueType) -> ValueType:
    """A scalar of one type, or a mapping of another."""
    accepted = simple.accepted if _is_planned(structured) else f"{simple.accepted}, or {structured.accepted}"
    plain_one = _reworded(simple, accepted)

    def read(node: Node) -> Any:
        return (structured if isinstance(node, Mapping) and node.entries else plain_one).read(node)

    schema = {"anyOf": [simple.schema, structured.schema]}
    return ValueType(f"{simple.name} or mapping", accepted, read, schema, structured.keys)


def mapping(accepted: str, read: Callable[[dict[str, Entry]], Value], schema: Schema | None = None) -> ValueType:
    """A mapping; nothing at all counts as an empty one."""

    def read_entries(node: Node) -> Value:
        if isinstance(node, Mapping):
            return read(node.entries)
        if is_null(node):
            return read({})
        raise NotAccepted(Refusal.of(node, accepted))

    return ValueType("mapping", accepted, read_entries, {"type": ["object", "null"], **(schema or {})})


def section(keys: dict[str, Key]) -> ValueType:
    """A mapping with keys of its own; the value is a dict of those given."""

    def read(entries: dict[str, Entry]) -> dict[str, Any]:
        values, refusals = read_keys(entries, keys)
        if refusals:
            raise NotAccepted(*(refusal.below("." * bool(refusal.key)) for refusal in refusals))
        return values

    names = [name for name, key in keys.items() if not key.planned] or keys
    whole = mapping(f"a mapping with the keys {', '.join(names)}", read, schema_of(keys))
    return ValueType(whole.name, whole.accepted, whole.read, whole.schema, keys)


def _is_planned(structured: ValueType) -> bool:
    return all(key.planned for key in structured.keys.values())


def schema_of(keys: dict[str, Key]) -> Schema:
    """JSON Schema's properties of a table, without what is only planned."""
    properties = {name: _described(key) for name, key in keys.items() if not key.planned}
    return {"properties": properties, "additionalProperties": False}


def _described(key: Key) -> Schema:
    default = f"  Default: {key.default}." if key.default else ""
    return {"description": f"{key.help}  Accepted: {key.type.accepted}.{default}", **key.type.schema}


def each(places: Iterable[tuple[str, Node]], read: Callable[[Node], Value]) -> list[Value]:
    """The values at the places inside a bigger value; NotAccepted tells of every one that is refused."""
    values: list[Value] = []
    refusals: list[Refusal] = []
    for place, node in places:
        try:
            values.append(read(node))
        except NotAccepted as wrong:
            refusals += [refusal.below(place) for refusal in wrong.refusals]
    if refusals:
        raise NotAccepted(*refusals)
    return values


def _plain_entries(entries: dict[str, Entry]) -> dict[str, Any]:
    values = each(((f".{quoted(name)[1:-1]}", entry.value) for name, entry in entries.items()), plain)
    return dict(zip(entries, values, strict=True))


def plain(node: Node) -> Any:
    """The value as JSON knows it; there a number is finite."""
    match node:
        case Sequence():
            return each(((f"[{index}]", item) for index, item in enumerate(node.items)), plain)
        case Mapping():
            return _plain_entries(node.entries)
    value = meaning(node)
    if isinstance(value, float) and not isfinite(value):
        raise NotAccepted(Refusal.of(node, "a finite number of at most 64 bits, or a text in quotes"))
    return value


ANYTHING = mapping("a mapping", _plain_entries)


def _reworded(inner: ValueType, accepted: str) -> ValueType:
    """The inner type, refusing a value as a whole in the words of a wider one."""

    def read(node: Node) -> Any:
        try:
            return inner.read(node)
        except NotAccepted as wrong:
            raise NotAccepted(*map(reworded, wrong.refusals)) from None

    def reworded(refusal: Refusal) -> Refusal:
        of_the_whole = not refusal.key and refusal.accepted == inner.accepted
        return refusal._replace(accepted=accepted) if of_the_whole else refusal

    return replace(inner, accepted=accepted, read=read)


def _inside(low: Number, value: Number, high: Number) -> Number:
    if not low <= value <= high:
        raise ValueError
    return value


def _anchored(pattern: re.Pattern[str]) -> str:
    """A pattern as JSON Schema wants it: it searches, and knows no groups by number."""
    return f"^(?:{pattern.pattern})$"


_PLANNED = "a key of a later version"
_PLANNED_TOO = "the file without it; `{}`, which does that, is a key of a later version"


def _unknown(key: Scalar, keys: dict[str, Key], elsewhere: dict[str, str]) -> Refusal:
    """Refuse a key, with what to write: one that means the same elsewhere, or is spelled nearly so, or any."""
    name, stands_for = key.text, ""
    if plain_name(name) in elsewhere:
        accepted = elsewhere[plain_name(name)]
        stands_for = accepted if accepted in keys else ""
    elif near := nearest(name, keys):
        stands_for = near
    else:
        live = [key for key, found in keys.items() if not found.planned] or ["no mapping in this version"]
        accepted = ", ".join(live) if len(live) <= 8 else "a key of jobqueue.d(5), such as command, schedule or user"
    if stands_for:
        accepted = _PLANNED_TOO.format(stands_for) if keys[stands_for].planned else f"'{stands_for}'"
    refusal = Refusal.of(key, accepted, "an unknown key")._replace(stands_for=stands_for)
    return refusal.below(ascii(name[:64])[1:-1])
