"""Rates: how many runs of a job may start in a time. `rate: 20/1d` is a budget of 20 starts that refills evenly.

The state of a budget is when it is full again, and how long a start took to refill under the rate of then. It does not
depend on when anybody asked before, so it is exact after a restart. All instants and durations are in ns.
"""

from __future__ import annotations

from jobqueued.model.job import Rate, RateUse


def refill_time(rate: Rate) -> int:
    """Return how long the budget needs to regain one start; rounded up, so that a job never exceeds its rate."""
    return _rounded_up(rate.per, rate.runs)


def free_starts(rate: Rate, use: RateUse, now: int) -> int:
    """Return how many runs may start now."""
    return rate.runs - _rounded_up(_time_to_full(rate, use, now), refill_time(rate))


def free_at(rate: Rate, use: RateUse, now: int, starts: int) -> int:
    """Return the instant at which so many runs may start, if none starts before."""
    return now + max(0, _time_to_full(rate, use, now) - (rate.runs - starts) * refill_time(rate))


def after_start(rate: Rate, use: RateUse, now: int) -> RateUse:
    """Return the use after a run starts now."""
    return RateUse(now + _time_to_full(rate, use, now) + refill_time(rate), refill_time(rate))


def without_start(use: RateUse) -> RateUse:
    """Return the use if the last start did not happen."""
    return use._replace(full_at=use.full_at - use.refill)


def bounded(rate: Rate, use: RateUse, now: int) -> RateUse:
    """Return the use under this rate: as many starts are used up as before, and at most all."""
    time = _time_to_full(rate, use, now)
    return RateUse(now + time, refill_time(rate)) if time else use


def _time_to_full(rate: Rate, use: RateUse, now: int) -> int:
    refill = refill_time(rate)
    return min(_rounded_up(max(0, use.full_at - now) * refill, use.refill), rate.runs * refill)


def _rounded_up(number: int, divisor: int) -> int:
    return -(-number // divisor)
