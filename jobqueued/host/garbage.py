"""Garbage collection in a process with many permanent objects."""

from __future__ import annotations

import gc


def freeze() -> None:
    """Exclude the jobs from later collections, because none is part of a cycle: 100,000 jobs take half a second.

    Present garbage is collected first, because nothing would collect it later. So temporary objects, such as
    connections, must not form cycles after their end: they may be frozen here while they live.
    """
    gc.collect(1)
    gc.freeze()
