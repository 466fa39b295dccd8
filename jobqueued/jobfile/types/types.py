"""Types of several values in YAML files: lists, mappings, and tables of keys."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from math import isfinite
from typing import Any, TypeVar

from jobqueued.jobfile.tree.yamlslips import GLUED_KEY, NO_SPACE
from jobqueued.jobfile.tree.yamltext import Mapping, Node, Scalar, Sequence, YamlEntry, is_null, meaning, quoted
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import Key, Schema, ValueType, reworded
from jobqueued.jobfile.types.spelling import is_alone, nearest, plain_name

MAX_PROBLEMS = 100  # limit in one file, because each costs a search for the most similar key, and more would not help

Value = TypeVar("Value")


def read_keys(
    entries: dict[str, YamlEntry], keys: dict[str, Key], elsewhere: dict[str, str] | None = None
) -> tuple[dict[str, Any], list[Refusal]]:
    """Return the valid values by key, and the refusals of invalid values.

    `elsewhere`: another program's name, as `plain_name` returns it → our key, or advice.
    """
    values: dict[str, Any] = {}
    refusals: list[Refusal] = []
    for name, (key, node) in entries.items():
        if len(refusals) >= MAX_PROBLEMS:
            break
        if name not in keys:
            refusals.append(_unknown(key, keys, elsewhere or {}))
        elif keys[name].planned:
            refusals.append(Refusal.of(key, "the file without this key", _PLANNED, code="JQ215").below(name))
        else:
            try:
                values[name] = keys[name].type.read(node)
            except NotAccepted as wrong:
                refusals += [_shown(refusal, keys[name], node, keys).below(name) for refusal in wrong.refusals]
    return values, refusals


def _shown(refusal: Refusal, key: Key, node: Node, keys: dict[str, Key]) -> Refusal:
    """Add the key's example to a refusal of the whole value, if the type has none. If the value is a
    mapping with another key of the job, add that key's place.
    """
    accepted = refusal.accepted
    if refusal.key or refusal.meant or accepted != key.type.accepted:
        return refusal
    kind = key.type.name.partition(" or ")[0]
    if _WITHOUT_EXAMPLE & {kind, key.type.name} or (kind == "mapping" and key.type.keys):
        accepted += f", such as {key.example}" + (f" with `{key.needs}`" if key.needs else "")
    if isinstance(node, Mapping) and (inside := next((name for name in node.entries if name in keys), "")):
        accepted += f"; write `{inside}` next to `{key.name}`, not inside"
    return refusal._replace(accepted=accepted)


_WITHOUT_EXAMPLE = {"integer", "number", "command", "boolean or mapping"}
"""Types whose descriptions have no example."""

# ── several values ──


def sequence(item: ValueType, *, least: int = 1) -> ValueType:
    """Return a type for lists of `least` or more values, read as a tuple."""
    accepted = f"a list, each item {item.accepted}"

    def read(node: Node) -> tuple[Any, ...]:
        if not isinstance(node, Sequence) or len(node.items) < least:
            raise NotAccepted(Refusal.of(node, accepted))
        return tuple(each(((f"[{index}]", child) for index, child in enumerate(node.items)), item.read))

    schema = {"type": "array", "items": item.schema, "minItems": least}
    return ValueType(f"list of {item.name}", accepted, read, schema, item.keys)


def one_or_more(item: ValueType, *, least: int = 1) -> ValueType:
    """Return a type for one value or a list of `least` or more values; each is read as a tuple."""
    several = sequence(item, least=least)
    accepted = f"{item.accepted}, or a list of them"
    single = reworded(item, accepted)

    def read(node: Node) -> tuple[Any, ...]:
        if isinstance(node, Sequence):
            return tuple(several.read(node))
        try:
            return (single.read(node),)
        except NotAccepted as wrong:
            raise NotAccepted(*(_as_list(node, refusal, several) for refusal in wrong.refusals)) from None

    return ValueType(f"{item.name} or list", accepted, read, {"anyOf": [item.schema, several.schema]}, item.keys)


def _as_list(node: Node, refusal: Refusal, several: ValueType) -> Refusal:
    """Return the refusal of a single value. If the value has commas, add the list that was probably meant."""
    if not isinstance(node, Scalar) or "," not in node.text or refusal.meant:
        return refusal
    words = [word.strip() for word in node.text.split(",")]
    try:
        several.read(Sequence(node.line, node.column, [node._replace(text=word) for word in words]))
    except NotAccepted:
        return refusal
    return refusal._replace(meant=f"[{', '.join(words)}]", is_sure=True)


def either(simple: ValueType, structured: ValueType) -> ValueType:
    """Return a type that accepts a scalar of the `simple` type, or a mapping of the `structured` type."""
    accepted = simple.accepted if _is_planned(structured) else f"{simple.accepted}, or {structured.accepted}"
    plain_one = reworded(simple, accepted)

    def read(node: Node) -> Any:
        try:
            return (structured if isinstance(node, Mapping) and node.entries else plain_one).read(node)
        except NotAccepted:
            if told := _glued(node, structured.keys):
                raise NotAccepted(told) from None
            raise

    schema = {"anyOf": [simple.schema, structured.schema]}
    return ValueType(f"{simple.name} or mapping", accepted, read, schema, structured.keys)


def mapping(accepted: str, read: Callable[[dict[str, YamlEntry]], Value], schema: Schema | None = None) -> ValueType:
    """Return a type for mappings; an empty value counts as an empty mapping."""

    def read_entries(node: Node) -> Value:
        if isinstance(node, Mapping):
            return read(node.entries)
        if is_null(node):
            return read({})
        raise NotAccepted(_glued(node) or Refusal.of(node, accepted))

    return ValueType("mapping", accepted, read_entries, {"type": ["object", "null"], **(schema or {})})


def _glued(node: Node, keys: Container[str] = ()) -> Refusal | None:
    """Return the refusal of a key without a space after its colon (if `keys` are given, one of them), or None."""
    glued = re.fullmatch(GLUED_KEY, node.text) if isinstance(node, Scalar) and node.plain else None
    if glued is None or (keys and glued[1] not in keys):
        return None
    several = re.search(r"\s[a-z_]+:\S", glued[2])  # YAML joins lines
    accepted = "a space after the colon of each key" if several else f"{glued[1]}: {glued[2].strip()}"
    return Refusal.of(node, accepted, f"{glued[1]}: {NO_SPACE}")


def section(keys: dict[str, Key]) -> ValueType:
    """Return a type for mappings with fixed keys; the value is a dict with the keys in the file."""

    def read(entries: dict[str, YamlEntry]) -> dict[str, Any]:
        values, refusals = read_keys(entries, keys)
        if refusals:
            raise NotAccepted(*(refusal.below("." if refusal.key else "") for refusal in refusals))
        return values

    names = [name for name, key in keys.items() if not key.planned] or keys
    return replace(mapping(f"a mapping with the keys {', '.join(names)}", read, schema_of(keys)), keys=keys)


def made(inner: ValueType, make: Callable[[Any], Any]) -> ValueType:
    """Return the inner type with a reader that converts its value with `make`."""
    return replace(inner, read=lambda node: make(inner.read(node)))


def _is_planned(structured: ValueType) -> bool:
    return all(key.planned for key in structured.keys.values())


def schema_of(keys: dict[str, Key]) -> Schema:
    """Return the `properties` of a JSON Schema for these keys, without planned keys."""
    properties = {name: _described(key) for name, key in keys.items() if not key.planned}
    return {"properties": properties, "additionalProperties": False}


def _described(key: Key) -> Schema:
    default = f"  Default: {key.default}." if key.default else ""
    return {"description": f"{key.help}  Accepted: {key.type.accepted}.{default}", **key.type.schema}


def each(places: Iterable[tuple[str, Node]], read: Callable[[Node], Value]) -> list[Value]:
    """Read each part of a larger value and return the results. Raises NotAccepted with all refusals."""
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


def plain(node: Node, of: Callable[[Scalar], Any] | None = None) -> Any:
    """Return the node's value for JSON. `of` reads the scalars; by default they must be finite."""
    of = of or _finite
    match node:
        case Sequence():
            return each(((f"[{index}]", item) for index, item in enumerate(node.items)), lambda item: plain(item, of))
        case Mapping():
            places = ((f".{quoted(name)[1:-1]}", entry.value) for name, entry in node.entries.items())
            return dict(zip(node.entries, each(places, lambda item: plain(item, of)), strict=True))
    return of(node)


def _finite(node: Scalar) -> Any:
    value = meaning(node)
    if isinstance(value, float) and not isfinite(value):
        raise NotAccepted(Refusal.of(node, "a finite number of at most 64 bits, or a string in quotes"))
    return value


def _as_written(node: Scalar) -> Any:
    """Return a scalar's meaning; a number that JSON would write differently, such as 1.10, remains text."""
    value = _finite(node)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return node.text if is_number and json.dumps(value) != node.text else value


ANYTHING = mapping("a mapping such as {owner: ops}", lambda entries: plain(Mapping(0, 0, entries), _as_written))

_PLANNED = "a key of a later version"
PLANNED_TOO = "the file without this key (the key `{}` comes in a later version)"


def _unknown(key: Scalar, keys: dict[str, Key], elsewhere: dict[str, str]) -> Refusal:
    """Refuse an unknown key, with advice: our key for another program's name, a similar key, or all keys."""
    name, stands_for, is_sure = key.text, "", False
    if plain_name(name) in elsewhere:
        accepted = elsewhere[plain_name(name)]
        stands_for = accepted if accepted in keys else ""
    elif near := nearest(name, keys):
        stands_for, is_sure = near, is_alone(name, keys)
    else:
        live = [key for key, found in keys.items() if not found.planned] or ["no mapping in this version"]
        accepted = (
            "a key of jobqueue.d(5), such as command, schedule or user" if "schedule" in keys else ", ".join(live)
        )
    if stands_for:
        accepted = PLANNED_TOO.format(stands_for) if keys[stands_for].planned else f"'{stands_for}'"
    refusal = Refusal.of(key, accepted, "an unknown key", code="JQ201")
    refusal = refusal._replace(stands_for=stands_for, is_sure=is_sure)
    return refusal.below(ascii(name[:64])[1:-1])
