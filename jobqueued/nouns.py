"""Dataclasses that are made in a fifth of the time: of what the standard library compiles for each, only `__init__` is.

They are dataclasses to whoever asks (`fields`, `replace`, `asdict`).  What nobody here has a use for is not there: a
class without `__repr__` or `__eq__`, or with one of its own, and fields of a base class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter, ge, gt, le, lt
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False, order: bool = False
    ) -> Callable[[type], type]:  # fmt: skip
        """The decorator of a class, as that of the standard library."""

        def made(cls: type) -> type:
            done: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
            fields = dataclasses.fields(done)
            done.__init__ = _init(done, fields, frozen=frozen)
            done.__repr__ = _repr([field.name for field in fields if field.repr])
            values = _values([field.name for field in fields if field.compare])
            done.__eq__, done.__hash__ = _eq(values), _hash(values) if frozen else None
            for compare in (lt, le, gt, ge) if order else ():
                setattr(done, f"__{compare.__name__}__", _compared(compare, values))
            if frozen:
                done.__setattr__, done.__delattr__ = _set, _delete
                done.__getstate__, done.__setstate__ = _state_of([field.name for field in fields])
            return done

        return made


def _init(cls: Any, fields: tuple[dataclasses.Field[Any], ...], *, frozen: bool) -> Any:
    """The `__init__` of a class: the only code that is compiled for it."""
    known: dict[str, Any] = {"_unset": _UNSET, "_set": object.__setattr__}
    positional, named, body = list[str](), list[str](), list[str]()
    for field in fields:
        name, value, default = field.name, field.name, ""
        if field.default_factory is not dataclasses.MISSING:
            known[f"_make_{name}"], default = field.default_factory, "=_unset"
            value = f"_make_{name}() if {name} is _unset else {name}"
        elif field.default is not dataclasses.MISSING:
            known[f"_default_{name}"], default = field.default, f"=_default_{name}"
        if field.init:
            (named if field.kw_only else positional).append(f"{name}{default}")
            body.append(f" _set(self, {name!r}, {value})" if frozen else f" self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    words = ", ".join(["self", *positional, *["*"] * bool(named), *named])
    exec("\n".join([f"def __init__({words}):", *body]), known)
    made = known["__init__"]
    made.__module__, made.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    return made


_UNSET = object()
"""The argument that was not given, of a field whose value is made anew for each."""


def _values(names: list[str]) -> Callable[[Any], Any]:
    """A getter of the fields by which two nouns are equal, or one comes before the other."""
    return attrgetter(*names)


def _eq(values: Callable[[Any], Any]) -> Any:
    def __eq__(self: Any, other: Any) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash(values: Callable[[Any], Any]) -> Any:
    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __hash__


def _compared(compare: Callable[[Any, Any], Any], values: Callable[[Any], Any]) -> Any:
    def compared(self: Any, other: Any) -> Any:
        return compare(values(self), values(other)) if other.__class__ is self.__class__ else NotImplemented

    return compared


def _repr(names: list[str]) -> Any:
    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _set(_: Any, name: str, __: Any) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(_: Any, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state_of(names: list[str]) -> tuple[Any, Any]:
    """The methods by which pickle and copy ask a frozen noun for its values, and give it them."""

    def __getstate__(self: Any) -> list[Any]:
        return [getattr(self, name) for name in names]

    def __setstate__(self: Any, state: list[Any]) -> None:
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return __getstate__, __setstate__
