"""Equal values kept once: most jobs are alike, and there may be 100,000 of them."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


def shared(value: T) -> T:
    """The first of the values equal to this one, while it is among the 1,000 that were asked for last; hashable."""
    first: T = _first(value)  # type: ignore[assignment]
    return first


@lru_cache(maxsize=1000, typed=True)
def _first(value: object) -> object:
    return value
