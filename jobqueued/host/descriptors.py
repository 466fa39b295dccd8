"""Limits of descriptors: optional uses leave some free for essential ones."""

from __future__ import annotations

import resource

LEAST = 64
"""Minimum limit with which the daemon starts: it has some 25 of its own."""
RESERVED = 16
"""Descriptors that stay free for the loop's own reading and writing, however many clients there are."""


def most() -> int:
    """Return how many descriptors this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_spare(descriptor: int) -> bool:
    """Return whether enough descriptors are left after this one: the kernel gives the lowest free number."""
    return descriptor < most() - RESERVED
