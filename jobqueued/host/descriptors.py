"""Limits of descriptors: optional uses leave some descriptors free for essential ones."""

from __future__ import annotations

import resource

LEAST = 64
"""Minimum limit with which the daemon starts; it needs about 25 descriptors itself."""
RESERVED = 16
"""Number of descriptors to leave free for the loop's own files, regardless of the number of clients."""


def most() -> int:
    """Return the maximum number of descriptors of this process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_spare(descriptor: int) -> bool:
    """Return whether enough descriptors are left after this one, since the kernel assigns the lowest free number."""
    return descriptor < most() - RESERVED
