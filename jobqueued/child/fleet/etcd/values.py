"""Parses values from etcd, with limits, because other programs may have written anything. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

from jobqueued.child.contract.tuples import NamedTuple

MOST = 1 << 16
"""Maximum characters in a host's value, which usually has a few hundred characters and the host's labels."""
END = (1 << 63) - 1
"""The last instant (ns) that can be saved, in the year 2262. Hosts write no greater number."""
LAST_SECOND = END // 1_000_000_000 - 1
_DIGITS = len(str(END))


class HostValue(NamedTuple):
    """A host's value: the host's identity and its announcement. An empty part is "-"."""

    store: str
    boot: str = "-"
    labels: str = "-"
    condition: str = "-"
    common: str = ""


class CommonSettings(NamedTuple):
    """The settings that all hosts of a fleet share.

    `lock_grace` (s) is the time that an unreachable host keeps its locks. `resources` are the units of the fleet's
    locks (``license=5,tape=2``).
    """

    timezone: str
    lock_grace: int
    resources: str


class OccurrenceValue(NamedTuple):
    """An occurrence's value: the store that has the occurrence, and its end, or "" if it is not over."""

    store: str
    end: str = ""


class Holder(NamedTuple):
    """The value for a lock's unit: the run that has the unit."""

    store: str
    job: str
    key: str


Value = TypeVar("Value", bound=tuple[Any, ...])


def parsed(kind: type[Value], value: str) -> Value | None:
    """Parse a value (a JSON array or words) to a named tuple of this kind, with limits for each field.

    Return None if no host could have written the value.
    """
    hints, made = [*kind.__annotations__.values()], cast("Callable[..., Value]", kind)
    try:
        parts = _parts(value, len(hints))
        return made(*(_read(part, hint) for part, hint in zip(parts, hints, strict=False)))
    except (ValueError, TypeError, RecursionError):
        return None


def _parts(value: str, count: int) -> list[Any]:
    """Return a value's parts, at most `count`. Raises ValueError and RecursionError."""
    if len(value) > MOST:
        raise ValueError("too long")
    parts = json.loads(value) if value.startswith("[") else value.split(" ", count - 1)
    if len(parts) > count:
        raise ValueError("too many parts")
    return parts


def _read(part: Any, hint: str) -> str | int | None:
    """Return a field as its annotation requires. Raises ValueError if it has another type or is out of bounds."""
    if hint == "str" and isinstance(part, str):
        return part
    if part is None and hint == "int | None":
        return None
    if isinstance(part, str) and part.isascii() and part.isdecimal() and len(part) <= _DIGITS:
        part = int(part)
    if hint == "str" or type(part) is not int or not 0 <= part <= END:
        raise ValueError("no number within bounds")
    return part


def end_of(value: str) -> str:
    """Return an occurrence's end from its value, or "" if it is not over. An invalid value counts as over."""
    return (parsed(OccurrenceValue, value) or OccurrenceValue("", "over")).end


def pause_in(value: str) -> str:
    """Return the value of a pause that exists, which is never "": an empty value becomes a malformed one."""
    return value or " "
