"""Values of etcd, read within bounds: whoever may write there may have written anything.  Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

from jobqueued.child.tuples import NamedTuple

MOST = 1 << 16
"""Characters of a value that a host makes: a few hundred, and its labels."""
END = (1 << 63) - 1
"""The last instant (ns) that can be saved, in the year 2262; no number that a host writes is greater."""
LAST_SECOND = END // 1_000_000_000 - 1
_DIGITS = len(str(END))


class Host(NamedTuple):
    """The value of a host: who it is, and what it has announced; "-": nothing."""

    store: str
    boot: str = "-"
    labels: str = "-"
    standing: str = "-"
    common: str = ""


class Common(NamedTuple):
    """The settings that all hosts of a fleet share.

    `lock_grace` (s) is the time for which an unreachable host keeps its locks; `resources` are the units of the locks
    of the fleet (``license=5,tape=2``).
    """

    timezone: str
    lock_grace: int
    resources: str


class Begun(NamedTuple):
    """The value of an occurrence: whose it is, and how it has ended; "": it has not."""

    store: str
    end: str = ""


class Holder(NamedTuple):
    """The value of a unit of a lock: the run that has it."""

    store: str
    job: str
    key: str


Value = TypeVar("Value", bound=tuple[Any, ...])


def parsed(kind: type[Value], value: str) -> Value | None:
    """Read a value, which is a JSON array or words, as a named tuple of this kind, each field within its bounds.

    None: no host has made it.
    """
    hints, made = [*kind.__annotations__.values()], cast("Callable[..., Value]", kind)
    try:
        parts = _parts(value, len(hints))
        return made(*(_read(part, hint) for part, hint in zip(parts, hints, strict=False)))
    except (ValueError, TypeError, RecursionError):
        return None


def _parts(value: str, count: int) -> list[Any]:
    """The parts of a value, `count` at most; ValueError, RecursionError."""
    if len(value) > MOST:
        raise ValueError("too long")
    parts = json.loads(value) if value.startswith("[") else value.split(" ", count - 1)
    if len(parts) > count:
        raise ValueError("too many parts")
    return parts


def _read(part: Any, hint: str) -> str | int | None:
    """A field as its annotation has it; ValueError: it is no such, or out of bounds."""
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
    """The way in which an occurrence has ended, by its value; "": it has not.  What no host has made is over."""
    return (parsed(Begun, value) or Begun("", "over")).end
