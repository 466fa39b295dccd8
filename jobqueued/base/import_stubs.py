"""Import libraries without the modules that the libraries would load but that the program never uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import NoReturn


class _Stub(ModuleType):
    """A module with a function for each imported name; a call raises NotImplementedError."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)

        def unused(*_: object, **__: object) -> NoReturn:
            raise NotImplementedError(f"{self.__name__}.{name} was not imported")

        return unused


@contextmanager
def without(absent: Sequence[str] = (), stubbed: Sequence[str] = (), covered: Sequence[str] = ()) -> Iterator[None]:
    """Replace modules during the imports of the `with` block.

    An `absent` module can't be imported, and a `stubbed` module has only functions that raise NotImplementedError; a
    module that is already loaded remains unchanged. A `covered` module is stubbed even if it is already loaded.
    """
    instead: dict[str, ModuleType | None] = {**dict.fromkeys(absent), **{name: _Stub(name) for name in stubbed}}
    instead = {name: module for name, module in instead.items() if name not in sys.modules}
    instead |= {name: _Stub(name) for name in covered}
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
    """Forget the library that the `with` block imports, so that a later import elsewhere reloads it completely.

    If the library was already loaded before the block, do nothing.
    """
    was_there = library in sys.modules
    yield
    for name in [] if was_there else [name for name in sys.modules if name.partition(".")[0] == library]:
        del sys.modules[name]


@contextmanager
def uninitialized(library: str) -> Iterator[ModuleType]:
    """Let the `with` block import modules of a library without running the library's `__init__`; yield the empty
    package.

    An import after the block loads the complete library. If the library is already loaded or is missing, import it
    normally.
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
