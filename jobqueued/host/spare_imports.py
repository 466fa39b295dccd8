"""Imports of libraries without modules that the daemon does not need: saves 2.5 MiB, and 8 MiB of rich and asyncio.

structlog would load rich and greenlet, if installed, and asyncio for its coroutine methods.  hashlib would load
OpenSSL, although Python has its own SHA-256.  timing/expansion.py does the same for croniter.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec

from jobqueued.base.import_stubs import without

_ABSENT = ("rich", "greenlet")
_HOLLOW = ("asyncio",)
_OWN_HASHES = ("_sha2", "_sha256")


def spare_imports() -> AbstractContextManager[None]:
    """Return a context in which imports omit those modules, unless they are already loaded."""
    return without(absent=(*_ABSENT, *(("_hashlib",) if any(map(find_spec, _OWN_HASHES)) else ())), hollow=_HOLLOW)
