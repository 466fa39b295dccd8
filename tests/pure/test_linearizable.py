"""The check of linearizability says what trying all orders says."""

from __future__ import annotations

from itertools import combinations, permutations
from math import inf
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.support.linearizable import stuck


class Swap(NamedTuple):
    """A register gets `after`, and `before` is what it had; None: nobody knows."""

    asked: float
    answered: float
    before: int | None
    after: int


def step(value: int, swap: Swap) -> int | None:
    """The register after that; None: it had another value."""
    return swap.after if swap.before in (None, value) else None


def by_all_orders(swaps: list[Swap]) -> bool:
    """Tell whether some order of all that were answered, with any of the others, is one that could have been."""
    told = [swap for swap in swaps if swap.answered < inf]
    untold = [swap for swap in swaps if swap.answered == inf]
    some = (told + list(more) for count in range(len(untold) + 1) for more in combinations(untold, count))
    return any(could_be(order) for each in some for order in permutations(each))


def could_be(order: tuple[Swap, ...]) -> bool:
    """Tell whether each had what the one before it has left, and none was asked after a later one was answered."""
    value: int | None = 0
    for number, swap in enumerate(order):
        value = None if value is None else step(value, swap)
        if value is None or any(later.answered < swap.asked for later in order[number + 1 :]):
            return False
    return True


@st.composite
def swaps(draw: st.DrawFn) -> list[Swap]:
    """Up to five swaps of three values, of which each may be without an answer."""
    found = list[Swap]()
    for _ in range(draw(st.integers(0, 5))):
        asked, took = draw(st.integers(0, 9)), draw(st.integers(0, 4))
        before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        found.append(Swap(asked, inf, None, after) if took == 4 else Swap(asked, asked + took, before, after))
    return found


@given(swaps())
def test_as_by_all_orders(history: list[Swap]) -> None:
    """It finds an order if, and only if, there is one."""
    assert by_all_orders(history) == (not stuck(history, 0, step))


def test_where_it_ends() -> None:
    """What can't come next is told."""
    stale = Swap(4, 5, 0, 2)
    assert [stale] == stuck([Swap(0, 1, 0, 1), stale, Swap(6, 7, 2, 3)], 0, step)


def test_many_at_a_time() -> None:
    """What is known to lead nowhere is not tried again: twelve at a time have 4096 sets, and 479 million orders."""
    at_once = [Swap(0, 9, 0, 0) for _ in range(12)]
    last = Swap(10, 11, 7, 7)
    assert [last] == stuck([*at_once, last], 0, step)
