"""Sharing of equal values to save memory, because a host may have 100,000 jobs, most of them alike."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


def shared(value: T) -> T:
    """Return one shared value for all equal hashable values; only the 1,000 most recently requested values are
    shared.
    """
    first: T = _first(value)  # type: ignore[assignment]
    return first


@lru_cache(maxsize=1000, typed=True)
def _first(value: object) -> object:
    return value
