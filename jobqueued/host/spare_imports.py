"""Imports of libraries without what these would load beside, which a daemon has no use for: 2.5 MiB, and 8
of rich and asyncio.

structlog would load rich and greenlet, where they are installed, and asyncio for its methods of coroutines; croniter
dateutil (and pytz) for its own walks through time, where only its expansion of fields is used; hashlib OpenSSL, where
Python has a SHA-256 of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import NoReturn

_ABSENT = ("rich", "greenlet")
_HOLLOW = ("asyncio", "dateutil", "dateutil.relativedelta", "dateutil.tz", "pytz")
_OWN_HASHES = ("_sha2", "_sha256")


class _Hollow(ModuleType):
    """A module that has whatever is imported from it, as long as nobody calls that."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)

        def unused(*_: object, **__: object) -> NoReturn:
            raise NotImplementedError(f"{self.__name__}.{name} was not imported")

        return unused


@contextmanager
def spare_imports() -> Iterator[None]:
    """Have what is imported meanwhile do without those modules, but for those that are there already."""
    absent = (*_ABSENT, *(("_hashlib",) if any(map(find_spec, _OWN_HASHES)) else ()))
    instead: dict[str, ModuleType | None] = {**dict.fromkeys(absent), **{name: _Hollow(name) for name in _HOLLOW}}
    missing = {name: module for name, module in instead.items() if name not in sys.modules}
    sys.modules.update(missing)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
