"""Rates: how many runs of a job may start in a time. `rate: 20/1d` is a budget of 20 starts that refills evenly.

The state of a budget is one instant: when the budget is full again. It does not depend on when anybody asked before, so
it is exact after a restart. All instants and durations are in ns.
"""

from __future__ import annotations

from jobqueued.model.job import Rate


def refill_time(rate: Rate) -> int:
    """Return how long the budget needs to regain one start; rounded up, so that a job never exceeds its rate."""
    return -(-rate.per // rate.runs)


def free_starts(rate: Rate, full_at: int, now: int) -> int:
    """Return how many runs may start now."""
    return rate.runs - -(-(_full_at(rate, full_at, now) - now) // refill_time(rate))


def free_at(rate: Rate, full_at: int, now: int, starts: int) -> int:
    """Return the instant at which so many runs may start, if none starts before."""
    return max(now, _full_at(rate, full_at, now) - (rate.runs - starts) * refill_time(rate))


def after_start(rate: Rate, full_at: int, now: int) -> int:
    """Return when the budget is full again after a run starts now."""
    return _full_at(rate, full_at, now) + refill_time(rate)


def _full_at(rate: Rate, full_at: int, now: int) -> int:
    """Return `full_at`, at least now, and at most the time that an empty budget of this rate needs."""
    return min(max(full_at, now), now + rate.runs * refill_time(rate))
