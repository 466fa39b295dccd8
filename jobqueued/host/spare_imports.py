"""Library imports that omit modules that the daemon does not need. This saves 2.5 MiB, and 8 MiB more for rich and
asyncio.

structlog would load asyncio for its coroutine methods, and rich and greenlet if they are installed. hashlib would load
OpenSSL, although Python has its own SHA-256. timing/expansion.py omits modules for croniter in the same way.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec

from jobqueued.base.import_stubs import without

_ABSENT = ("rich", "greenlet")
_STUBBED = ("asyncio",)
_OWN_HASHES = ("_sha2", "_sha256")


def spare_imports() -> AbstractContextManager[None]:
    """Return a context in which imports omit these modules, unless they are already loaded."""
    return without(absent=(*_ABSENT, *(("_hashlib",) if any(map(find_spec, _OWN_HASHES)) else ())), stubbed=_STUBBED)
