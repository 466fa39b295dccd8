"""Linearizability: is there an order of operations, each at an instant between its question and its answer, that one
object could have lived through?

The search of Wing and Gong (Testing and Verifying Concurrent Objects, 1993), with what Lowe adds to it (Testing for
Linearizability, 2017): where the same operations have led to the same state before, nothing is tried again.  What is
about several objects is checked for each of them (P-compositionality: Horn and Kroening, 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from math import inf
from typing import Generic, NamedTuple, Protocol, TypeVar


class Spanned(Protocol):
    """An operation.  `answered` inf: nobody knows whether, and when, it was carried out."""

    @property
    def asked(self) -> float: ...

    @property
    def answered(self) -> float: ...


Operation = TypeVar("Operation", bound=Spanned)
State = TypeVar("State", bound=Hashable)


class _Place(NamedTuple, Generic[State]):
    """A way so far: all answered operations before `first`, those `beyond` it, some of the others, and where it led."""

    first: int
    beyond: frozenset[int]
    guessed: frozenset[int]
    state: State


class _Search(Generic[Operation, State]):
    """The operations in the order of their questions, and how one changes a state (None: not by that answer)."""

    def __init__(
        self, operations: Iterable[Operation], step: Callable[[State, Operation], State | None],
        until: Callable[[Operation], float],
    ) -> None:  # fmt: skip
        ordered = sorted(operations, key=lambda operation: operation.asked)
        self.told = [operation for operation in ordered if operation.answered < inf]
        self.untold = [operation for operation in ordered if operation.answered == inf]
        self._step, self._until = step, [until(operation) for operation in self.untold]

    def _may_come(self, number: int, first: int) -> bool:
        """Tell whether one without an answer may be carried out when all before an answered one was."""
        return first == len(self.told) or self.told[first].asked <= self._until[number]

    def next_of(self, place: _Place[State]) -> tuple[list[int], float]:
        """The answered operations of which one has to be next, the soonest first; the first of their answers."""
        found, until = list[int](), inf
        for number in range(place.first, len(self.told)):
            if self.told[number].asked > until:
                break
            if number not in place.beyond:
                found.append(number)
                until = min(until, self.told[number].answered)
        return sorted(found, key=lambda number: self.told[number].answered), until

    def ways(self, place: _Place[State]) -> Iterator[_Place[State]]:
        """Yield where it can go on: by an answered operation, or else by one that may have been carried out."""
        found, until = self.next_of(place)
        for number in found:
            state = self._step(place.state, self.told[number])
            if state is not None:
                first, beyond = place.first, place.beyond | {number}
                while first in beyond:
                    beyond, first = beyond - {first}, first + 1
                guessed = frozenset(each for each in place.guessed if self._may_come(each, first))
                yield _Place(first, beyond, guessed, state)
        for number, operation in enumerate(self.untold):
            if operation.asked > until:
                break
            if number not in place.guessed and self._may_come(number, place.first):
                state = self._step(place.state, operation)
                if state is not None:
                    yield place._replace(guessed=place.guessed | {number}, state=state)


def stuck(
    operations: Iterable[Operation], begin: State, step: Callable[[State, Operation], State | None],
    until: Callable[[Operation], float] = lambda _operation: inf,
) -> list[Operation]:  # fmt: skip
    """The operations of which none can be the next on the longest way that there is; []: there is an order of all.

    `step`: the state after an operation, if it was answered so in a state; None: that can't be.  `until`: the instant
    after which one without an answer is not carried out any more; the later, the more there is to be tried.
    """
    search = _Search(operations, step, until)
    place = farthest = _Place(0, frozenset(), frozenset(), begin)
    seen, ways = {place}, [search.ways(place)]
    while ways and place.first < len(search.told):
        following = next(ways[-1], None)
        if following is None:
            ways.pop()
        elif following not in seen:
            place = following
            seen.add(place)
            ways.append(search.ways(place))
            farthest = max(farthest, place, key=lambda each: each.first + len(each.beyond))
    if place.first == len(search.told):
        return []
    return [search.told[number] for number in search.next_of(farthest)[0]]
