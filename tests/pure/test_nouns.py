"""Dataclasses and named tuples that are made quickly: they do what those of the standard library do."""

from __future__ import annotations

import dataclasses
import pickle
import random
import typing
from copy import copy, deepcopy
from operator import ge, gt, le, lt
from typing import Any

import pytest

from jobqueued import nouns
from jobqueued.child import tuples

KINDS: dict[str, dict[str, Any]] = {
    "plain": {}, "slots": {"slots": True}, "frozen": {"frozen": True, "slots": True},
    "by name": {"frozen": True, "slots": True, "kw_only": True}, "ordered": {"frozen": True, "order": True},
}  # fmt: skip
BY_NAME = {"kw_only": True}


def a_class(decorator: Any, **how: Any) -> Any:
    """A class with a field of each kind."""

    class Noun:
        """A noun."""

        a: int
        b: str = "b"
        c: list[int] = dataclasses.field(default_factory=list)
        hidden: int = dataclasses.field(default=3, repr=False, compare=False, kw_only=True)
        derived: int = dataclasses.field(init=False, compare=False)

        def __post_init__(self) -> None:
            """Derive a field."""
            object.__setattr__(self, "derived", self.a * 2)

    return decorator(**how)(Noun)


def both(**how: Any) -> tuple[Any, Any]:
    """The class as the standard library makes it, and as we do."""
    return a_class(dataclasses.dataclass, **how), a_class(nouns.dataclass, **how)


def outcome(call: Any) -> Any:
    """What comes of a call: its answer, or the kind of its error."""
    try:
        return call()
    except Exception as error:
        return type(error)


VALUES: list[dict[str, Any]] = [{"a": 1}, {"a": 2, "b": "a"}, {"a": 1, "c": [1]}, {"a": 1, "hidden": 4}, {}, {"x": 1}]
ASKED: list[Any] = [
    repr, dataclasses.asdict, lambda it: it.derived, lambda it: it.hidden, hash, lambda it: setattr(it, "a", 9),
    lambda it: isinstance(outcome(lambda: setattr(it, "z", 9)), type), lambda it: delattr(it, "a"),
    lambda it: repr(dataclasses.replace(it, a=7)), lambda it: copy(it) == it, lambda it: repr(deepcopy(it)),
    lambda it: it == 1, lambda it: [(each.name, each.init) for each in dataclasses.fields(it)],
    lambda it: it.__match_args__, lambda it: typing.get_type_hints(type(it)), lambda it: hasattr(it, "__dict__"),
    lambda it: hasattr(it, "b"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", VALUES, ids=repr)
def test_a_dataclass_does_what_that_of_the_standard_library_does(kind: str, values: dict[str, Any]) -> None:
    """It is made, shown, compared, hashed, changed and copied alike, or refuses that alike."""
    theirs, ours = both(**KINDS[kind])
    for ask in ASKED:
        assert outcome(lambda ask=ask: ask(ours(**values))) == outcome(lambda ask=ask: ask(theirs(**values)))
    for positional in ((1, "x"), (1, "x", [2], 3)):
        assert outcome(lambda at=positional: repr(ours(*at))) == outcome(lambda at=positional: repr(theirs(*at)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compare", [lt, le, gt, ge, lambda one, two: one == two, lambda one, two: one != two])
def test_dataclasses_are_compared_as_those_of_the_standard_library_are(kind: str, compare: Any) -> None:
    """Of any two, also of those with the same values."""
    luck = random.Random(1)
    rows = [{"a": luck.randint(1, 2), "b": luck.choice("ab"), "hidden": luck.randint(1, 2)} for _ in range(8)]
    theirs, ours = both(**KINDS[kind])
    for one in rows:
        for two in rows:
            expected = outcome(lambda one=one, two=two: compare(theirs(**one), theirs(**two)))
            assert outcome(lambda one=one, two=two: compare(ours(**one), ours(**two))) == expected


@nouns.dataclass(frozen=True, slots=True)
class Sent:
    """A noun that goes to another process."""

    a: int
    b: tuple[int, ...] = ()


def test_a_frozen_noun_is_pickled() -> None:
    """It has slots and can't be assigned to, but comes back as it was."""
    assert Sent(1, (2,)) == pickle.loads(pickle.dumps(Sent(1, (2,))))


def test_a_factory_makes_a_value_for_each() -> None:
    """Nobody shares a list."""
    _, ours = both()
    one, two = ours(1), ours(1)
    one.c.append(1)
    assert two.c == []


class Ours(tuples.NamedTuple):
    """A tuple with names."""

    a: int
    b: str | None = None
    count: int = 3  # type: ignore[assignment]

    @property
    def twice(self) -> int:
        """Twice a."""
        return 2 * self.a

    @classmethod
    def of(cls, a: int) -> Ours:
        """One of a."""
        return cls(a, "of")


def test_a_named_tuple_does_what_that_of_typing_does() -> None:
    """Its values, names, defaults, methods, documentation, hints; and it may be pickled."""
    one = Ours(1, count=4)
    assert (1, None, 4) == one == pickle.loads(pickle.dumps(one))
    assert ("Ours(a=1, b=None, count=4)", 2, (5, "of", 3)) == (repr(one), one.twice, Ours.of(5))
    assert (("a", "b", "count"), {"b": None, "count": 3}) == (Ours._fields, Ours._field_defaults)
    assert ({"a": int, "b": str | None, "count": int}, "A tuple with names.") == (
        typing.get_type_hints(Ours), Ours.__doc__,
    )  # fmt: skip
    assert (Ours(7, None, 4), {"a": 1, "b": None, "count": 4}) == (one._replace(a=7), one._asdict())
    assert (Ours.__module__, Ours.__qualname__, (tuple,)) == (__name__, "Ours", Ours.__bases__)


def test_a_field_without_a_default_does_not_follow_one_that_has_one() -> None:
    """Else it would get that of another."""
    space = {"__annotations__": {"a": "int", "b": "int"}, "__module__": "x", "__qualname__": "X", "a": 1}
    with pytest.raises(TypeError, match="default"):
        type(tuples.NamedTuple.__mro_entries__(())[0])("X", (), space)  # type: ignore[attr-defined]
