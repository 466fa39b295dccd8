"""Imports of libraries without what these would load beside, which a daemon has no use for: 2.5 MiB, and 8
of rich and asyncio.

structlog would load rich and greenlet, where they are installed, and asyncio for its methods of coroutines; hashlib
OpenSSL, where Python has a SHA-256 of its own.  croniter is imported so by whoever does (timing/expansion.py).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec

from jobqueued.hollow import without

_ABSENT = ("rich", "greenlet")
_HOLLOW = ("asyncio",)
_OWN_HASHES = ("_sha2", "_sha256")


def spare_imports() -> AbstractContextManager[None]:
    """Have what is imported meanwhile do without those modules, but for those that are there already."""
    return without(absent=(*_ABSENT, *(("_hashlib",) if any(map(find_spec, _OWN_HASHES)) else ())), hollow=_HOLLOW)
