"""Nouns that have changed: a copy with other values of some fields."""

from __future__ import annotations

from collections import deque
from functools import cache
from itertools import repeat
from operator import attrgetter, call
from typing import Any, TypeVar

T = TypeVar("T")


def changed(noun: T, **changes: Any) -> T:
    """The same as dataclasses.replace, in a third of its time, of a dataclass with slots and without __post_init__."""
    kind: Any = type(noun)
    values, setters = _fields(kind)
    copy: T = object.__new__(kind)
    deque(map(call, setters, repeat(copy), values(noun)), 0)
    for name, value in changes.items():
        object.__setattr__(copy, name, value)
    return copy


@cache
def _fields(kind: Any) -> tuple[Any, list[Any]]:
    """A getter of the values of all fields, and a setter of each."""
    names = kind.__slots__
    return attrgetter(*names), [getattr(kind, name).__set__ for name in names]
