"""The usual times: how long the newest runs of a job took or waited, and the bound beyond which a run is late.

The usual duration of a job's runs is the median (`middle`) of its newest runs that succeeded without failover
(recollection.took).  `why`, `top`, `show`, `history` and `check` use it; `simulate` draws from such durations.

A list of durations is a string of milliseconds with the newest last, such as ``61234 60012``. state.db has the list in
this form too; the string takes a fraction of a tuple's memory. A duration below a second is written as 0, because it is
below every bound.

`bound_at` is a one-sided conformal bound (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005). If
the order of the runs does not matter, every rank of the next run among the earlier runs is equally likely, under any
distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, floor

from jobqueued.base.instants import MINUTE, SECOND

KEPT = 99
"""Number of saved durations: the minimum that allows the level 0.99."""
RECENT = 50
"""Number of newest durations that predict the next one, here and in simulations."""
ENOUGH = 20
"""Minimum number of durations from which a bound for a level can be calculated."""
LEAST, UNSURE = MINUTE, 10 * MINUTE
"""Lowest bounds (ns): for a job with at least `ENOUGH` durations, and for a job with fewer."""
_FACTOR = 3
_MILLISECOND = SECOND // 1000
_ROUNDING = 1e-9


def noted(times: str, time: int) -> str:
    """Return a list of durations with one more duration (ns); if the list is full, drop the oldest."""
    newest = 0 if time < SECOND else -(-time // _MILLISECOND)
    kept = times.split(" ")[1 - KEPT :] if times else []
    return " ".join([*kept, str(newest)])


def durations(times: str) -> list[int]:
    """Return the durations (ns) in a list, the newest last."""
    if not times.strip("0 "):  # common, because most jobs start at once
        return [0] * len(times.split())
    return [int(time) * _MILLISECOND for time in times.split(" ")]


def middle(times: Sequence[int]) -> int:
    """Return the median of at least one duration; for an even number of durations, return the shorter of the two middle
    durations.
    """
    return sorted(times)[(len(times) - 1) // 2]


SOON = SECOND
"""Expected remaining time (ns) of a run that already takes longer than all known runs."""


@lru_cache(maxsize=1024)
def likely(times: str, mean: int | None, limit: int | None = None, passed: int = 0) -> int | None:
    """Return the likely duration (ns) of a run from a list of earlier durations, or None if unknown.

    The result is the median, because one hung run does not move a median. If the run has taken `passed` ns so far, only
    durations of at least `passed` count. `limit` is an upper limit; it is the result if no duration and no `mean` is
    known. The `mean` is used if the list is empty, and in place of durations below a second, which are 0 in the list.
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
    """Return the duration (ns) that another run exceeds with probability at most 1 - `level`, or None if too few
    durations are known.

    Among n known runs and one more run, each run has the same chance to be one of the k longest. Therefore the other
    run exceeds the k-th longest of the n known runs with probability k / (n + 1). The bound uses only the newest n
    runs, with the smallest n for which this probability is at most 1 - `level`. With a small n, the bound is low and
    follows changes quickly.
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

    Without a level, or with too few runs for the level, the bound is three times the mean, but at least the longest of
    the n known runs. Another run exceeds the longest known run with probability at most 1 / (n + 1). The bound is never
    below LEAST or, with fewer than ENOUGH runs, UNSURE.
    """
    if not known:
        return None
    least = LEAST if len(known) >= ENOUGH else UNSURE
    exact = None if level is None else bound_at(level, known)
    return max(least, _FACTOR * sum(known) // len(known), *known) if exact is None else max(least, exact)
