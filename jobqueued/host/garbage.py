"""The collection of garbage, in a process with much that stays."""

from __future__ import annotations

import gc


def freeze() -> None:
    """Have no collection look again at the jobs, none of which is part of a circle: of 100,000 it takes half a second.

    What is garbage by now is collected before, as nothing would afterwards; so what comes and goes, as connections do,
    may be part of no circle once it is over: it may be frozen here while it lives.
    """
    gc.collect(1)
    gc.freeze()
