"""The shortest history that shows what a life has shown: faults, acts of people and jobs are left out while it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from tests.simulation.life import Life
from tests.simulation.plan import Happening
from tests.simulation.workload import Work

T = TypeVar("T")
MOST_LIVES = 120


def kind_of(violation: str) -> str:
    """What is violated, without whose it is and when."""
    return re.sub(r"\(.*|\S*\d\S*|'[^']*'", "", violation)


def shortest(life: Life) -> Life:
    """A life that breaks the same promise with as little as possible, lived; at most `MOST_LIVES` are tried."""
    kind = kind_of(life.host.violations[0])
    best, left = life, MOST_LIVES

    def shows(plan: list[Happening], works: list[Work]) -> bool:
        nonlocal best, left
        if left <= 0:
            return False
        left -= 1
        tried = Life(life.seed, life.terms, plan, works)
        if not any(kind_of(each) == kind for each in tried.live()):
            return False
        best = tried
        return True

    plan = _least(life.plan, lambda some: shows(some, life.all_works))
    works = _least(life.all_works, lambda some: bool(some) and shows(plan, some))
    _least(plan, lambda some: shows(some, works))
    return best


def _least(whole: list[T], shows: Callable[[list[T]], bool]) -> list[T]:
    """Leave out ever smaller parts while the rest still shows it (delta debugging)."""
    size = max(1, len(whole) // 2)
    while whole:
        for rest in _without_parts(whole, size):
            if shows(rest):
                whole = rest
                break
        else:
            if size == 1:
                return whole
            size = max(1, size // 2)
    return whole


def _without_parts(whole: list[T], size: int) -> Iterator[list[T]]:
    for begin in range(0, len(whole), size):
        yield whole[:begin] + whole[begin + size :]
