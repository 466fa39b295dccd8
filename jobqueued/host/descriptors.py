"""Limits of descriptors: optional uses must leave some descriptors free for essential uses."""

from __future__ import annotations

import resource

LEAST = 64
"""Smallest limit of descriptors with which the daemon starts; the daemon itself needs about 25."""
RESERVED = 16
"""Number of descriptors to leave free for the loop's own files, regardless of the number of clients."""


def most() -> int:
    """Return the maximum number of descriptors of this process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_spare(descriptor: int) -> bool:
    """Return whether enough descriptors are free after this one was opened.

    The number of the newest descriptor shows this, because the kernel assigns the lowest free number.
    """
    return descriptor < most() - RESERVED
