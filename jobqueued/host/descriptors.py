"""Descriptors, of which a process may have so many: what is dear keeps some free for what must not fail."""

from __future__ import annotations

import resource

LEAST = 64
"""The number without which the daemon does not begin: it has some 25 of its own."""
RESERVED = 16
"""So many stay free for the loop's own reading and writing, whoever wants to be served or followed."""


def most() -> int:
    """The number of those that this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_spare(descriptor: int) -> bool:
    """Tell whether enough is left beside this one.  The kernel gives the lowest number that is free."""
    return descriptor < most() - RESERVED
