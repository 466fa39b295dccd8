"""The usual times: how long the newest runs of a job took or waited, and the bound beyond which a run is late.

The usual duration of a job's runs is the median (`middle`) of its newest runs that succeeded without failover
(recollection.took).  `why`, `top`, `show`, `history` and `check` use it; `simulate` draws from such durations.

A list of durations is a string of milliseconds, the newest last: ``61234 60012``.  state.db has it in this form, which
takes a fraction of a tuple's memory.  A duration below a second is 0 there, because it is below every bound.

`bound_at` is a one-sided conformal bound (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005).  If
runs are exchangeable, each rank of the next run among earlier runs has the same probability, under any distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, floor

from jobqueued.base.instants import MINUTE, SECOND

KEPT = 99
"""Number of saved durations: the minimum for the level 0.99."""
RECENT = 50
"""Number of newest durations that predict the next one, here and in simulations."""
ENOUGH = 20
"""Minimum number of durations for a level."""
LEAST, UNSURE = MINUTE, 10 * MINUTE
"""Lowest bounds (ns): for any job, and for a job with fewer than `ENOUGH` durations."""
_FACTOR = 3
_MILLISECOND = SECOND // 1000
_ROUNDING = 1e-9


def noted(times: str, time: int) -> str:
    """Return the list with one more duration (ns), without the oldest if the list is full."""
    newest = 0 if time < SECOND else -(-time // _MILLISECOND)
    kept = times.split(" ")[1 - KEPT :] if times else []
    return " ".join([*kept, str(newest)])


def durations(times: str) -> list[int]:
    """Return the durations of a list (ns), the newest last."""
    if not times.strip("0 "):  # common, because most jobs start at once
        return [0] * len(times.split())
    return [int(time) * _MILLISECOND for time in times.split(" ")]


def middle(times: Sequence[int]) -> int:
    """Return the median of at least one duration; for an even number, the shorter of the two middle ones."""
    return sorted(times)[(len(times) - 1) // 2]


SOON = SECOND
"""Expected remaining time (ns) of a run that takes longer than any before."""


@lru_cache(maxsize=1024)
def likely(times: str, mean: int | None, limit: int | None = None, passed: int = 0) -> int | None:
    """Return the likely duration of a run (ns), from the list of durations before it, or None if unknown.

    It is the median, because one hung run does not move a median.  If `passed` ns have passed, only durations of at
    least `passed` count.  `limit` is an upper limit, and the result if no duration is known.  The `mean` replaces
    durations below a second, which the list does not distinguish, and an empty list.
    """
    short = min(SECOND, mean or 0)
    known = [time or short for time in durations(times)[-RECENT:]] or [
        time for time in (mean, limit) if time is not None
    ][:1]
    if not known:
        return None
    within = known if limit is None else [min(time, limit) for time in known]
    return middle([time for time in within if time >= passed] or [passed + SOON])


def bound_at(level: float, known: Sequence[int]) -> int | None:
    """Return the duration (ns) that another run exceeds with probability at most 1 - `level`, or None if too few are
    known.

    Among n known runs and another one, each has the same chance to be one of the k longest.  Therefore the other run
    exceeds the k-th longest of the n with probability k / (n + 1).  The bound uses only the newest n runs, with the
    smallest n that keeps this probability at most 1 - `level`.  A small n keeps the bound low and lets it follow
    changes soon.
    """
    if len(known) < ENOUGH:
        return None
    k = floor((len(known) + 1) * (1 - level) + _ROUNDING)
    if not k:
        return None
    of = ceil(k / (1 - level) - _ROUNDING) - 1
    return sorted(known[-of:])[-k]


def bound(level: float | None, known: Sequence[int]) -> int | None:
    """Return the duration (ns) beyond which another run is late, or None if no run is known.

    Without a level, or with too few runs for it, the bound is three times the mean, but at least the longest of the n
    known runs.  Another run exceeds the longest one with probability 1 / (n + 1) at most.  Short runs get a minimum.
    """
    if not known:
        return None
    least = LEAST if len(known) >= ENOUGH else UNSURE
    exact = None if level is None else bound_at(level, known)
    return max(least, _FACTOR * sum(known) // len(known), *known) if exact is None else max(least, exact)
