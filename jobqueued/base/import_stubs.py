"""Imports of libraries without what these would load beside, which nobody here has a use for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import NoReturn


class _Hollow(ModuleType):
    """A module that has whatever is imported from it, as long as nobody calls that."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)

        def unused(*_: object, **__: object) -> NoReturn:
            raise NotImplementedError(f"{self.__name__}.{name} was not imported")

        return unused


@contextmanager
def without(absent: Sequence[str] = (), hollow: Sequence[str] = (), covered: Sequence[str] = ()) -> Iterator[None]:
    """Have what is imported meanwhile do without those modules: `absent` ones can't be imported, `hollow` ones can, and
    do nothing.  Those that are there already are used, but for the `covered`, which are hollow in any case.
    """
    instead: dict[str, ModuleType | None] = {**dict.fromkeys(absent), **{name: _Hollow(name) for name in hollow}}
    instead = {name: module for name, module in instead.items() if name not in sys.modules}
    instead |= {name: _Hollow(name) for name in covered}
    before = {name: sys.modules[name] for name in covered if name in sys.modules}
    sys.modules.update(instead)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in instead:
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def own_copy(library: str) -> Iterator[None]:
    """Have a library that is imported meanwhile for us alone: who imports it later gets another, which is whole."""
    was_there = library in sys.modules
    yield
    for name in [] if was_there else [name for name in sys.modules if name.partition(".")[0] == library]:
        del sys.modules[name]


@contextmanager
def uninitialized(library: str) -> Iterator[ModuleType]:
    """Have modules of a library that are imported meanwhile without what its `__init__` would import; yields what they
    see as the library.  Who imports it later gets it whole; if it is there already, it is used as it is.
    """
    spec = None if library in sys.modules else find_spec(library)
    if spec is None:
        yield import_module(library)
        return
    package = sys.modules[library] = module_from_spec(spec)
    try:
        yield package
    finally:
        del sys.modules[library]
