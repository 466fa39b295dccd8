"""Garbage collection in a process with many permanent objects."""

from __future__ import annotations

import gc


def freeze() -> None:
    """Exclude all current objects from later garbage collections, because a collection with 100,000 jobs takes half a
    second.

    The function collects existing garbage first, because it would never be collected later. For the same reason,
    temporary objects such as connections, which may be frozen here, must not be part of a cycle after their end.
    """
    gc.collect(1)
    gc.freeze()


def pause() -> None:
    """Collect no garbage until `resume`: during a start almost every object is permanent."""
    gc.disable()


def resume() -> None:
    """Collect garbage from now on, but none of the current objects."""
    gc.freeze()
    gc.enable()
