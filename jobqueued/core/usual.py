"""The usual: how long the newest runs of a job took or waited, and the bound beyond which another is late.

The time that a run of a job usually takes is the median (`middle`) of what its newest ones took that succeeded by
themselves (recollection.took).  `why`, `top`, `show`, `history` and `check` go by it; `simulate` draws from such times.

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
RECENT = 50
"""So many of the newest tell how long another run is likely to take, here and in what is simulated."""
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


SOON = SECOND
"""After this time ends what takes longer than any before, as far as anybody can tell."""


@lru_cache(maxsize=1024)
def likely(times: str, mean: int | None, limit: int | None = None, passed: int = 0) -> int | None:
    """The time that a run is likely to take (ns), by the list of those before; None: nobody knows.

    It is the median, which one run that hung does not move, of what it may take still: of one for which so much has
    `passed`, no less, and at most the `limit`, which alone tells where no run is known.  Below a second the list does
    not tell them apart, so the `mean` does; that is all that is known where there is no list yet.
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
