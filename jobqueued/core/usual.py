"""The usual: how long the newest runs of a job took or waited, and the bound beyond which another is late.

A list of durations is a text of milliseconds, the newest last: ``61234 60012``.  It is kept so in state.db, and costs a
fraction of a tuple's memory; what is below a second is 0 there, as it is below every bound.

`bound_at` is a one-sided conformal bound (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005): if
runs are exchangeable, the next one is as likely to have any rank among those before it, whatever their distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, floor

from jobqueued.model import MINUTE, SECOND

KEPT = 99
"""Durations that are kept: as many as the level 0.99 needs."""
ENOUGH = 20
"""Fewer tell nothing of a level."""
LEAST, UNSURE = MINUTE, 10 * MINUTE
"""No run is late before so long, and none of which fewer than `ENOUGH` are known."""
_FACTOR = 3
_MILLISECOND = SECOND // 1000
_ROUNDING = 1e-9


def noted(times: str, time: int) -> str:
    """The list with one more duration (ns), and without the oldest if it is full."""
    newest = 0 if time < SECOND else -(-time // _MILLISECOND)
    kept = times.split(" ")[1 - KEPT :] if times else []
    return " ".join([*kept, str(newest)])


def durations(times: str) -> list[int]:
    """The durations of a list (ns), the newest last."""
    if not times.strip("0 "):  # as most jobs start at once, that is common
        return [0] * len(times.split())
    return [int(time) * _MILLISECOND for time in times.split(" ")]


def middle(times: Sequence[int]) -> int:
    """The median of durations, which are at least one: half of them are not longer."""
    return sorted(times)[(len(times) - 1) // 2]


@lru_cache(maxsize=1024)
def likely(times: str, mean: int | None) -> int | None:
    """The time that another run is likely to take (ns), by a list and, below a second, by the `mean`; None: nobody
    knows.

    It is the median, which one run that hung does not move; `simulate` draws from such times, and half of its draws
    are not longer.
    """
    known = durations(times)
    return (middle(known) if known else 0) or mean


def bound_at(level: float, known: Sequence[int]) -> int | None:
    """The duration that another run exceeds with the probability 1 - `level`; None: too few are known for that.

    Of n known ones and another, each is as likely to be one of the k longest: the k-th longest of the n is exceeded
    with the probability k / (n + 1).  Of the newest so many are taken that this is 1 - `level`, not less: then the
    bound is as low as it may be, and follows changes soonest.
    """
    if len(known) < ENOUGH:
        return None
    k = floor((len(known) + 1) * (1 - level) + _ROUNDING)
    if not k:
        return None
    of = ceil(k / (1 - level) - _ROUNDING) - 1
    return sorted(known[-of:])[-k]


def bound(level: float | None, known: Sequence[int]) -> int | None:
    """The duration beyond which another run is late; None: no run is known.

    Where there is no level, or too few runs for it, that is three times the mean, and longer than any of them: n + 1
    runs are as likely to be the longest, so at most one in n + 1 exceeds that.  Short runs have some time anyway.
    """
    if not known:
        return None
    least = LEAST if len(known) >= ENOUGH else UNSURE
    exact = None if level is None else bound_at(level, known)
    return max(least, _FACTOR * sum(known) // len(known), *known) if exact is None else max(least, exact)
