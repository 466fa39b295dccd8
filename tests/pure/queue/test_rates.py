"""The budget of a `rate`: never more starts than it allows, none withheld that it allows, whatever changes."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.model.job import Rate
from jobqueued.queue.rates import after_start, free_at, free_starts, refill_time


@pytest.mark.parametrize("seed", range(8))
def test_never_over_and_never_under(seed: int) -> None:
    """Over 20,000 random starts, as many are free as a bucket that is filled drop by drop has; in no span of time are
    there more than fit into it.
    """
    luck = random.Random(seed)
    rate = Rate(luck.choice([1, 2, 3, 7, 20, 999_999]), luck.choice([SECOND, MINUTE, HOUR, DAY]))
    drop = refill_time(rate)
    assert rate.per <= drop * rate.runs < rate.per + rate.runs
    now, full_at, level, count, least = 10**18, 0, Fraction(rate.runs), 0, 10**30
    for _ in range(20_000):
        pause = luck.choice([0, 0, 1, drop - 1, drop, luck.randrange(3 * drop), luck.randrange(3 * rate.per)])
        now, level = now + pause, min(Fraction(rate.runs), level + Fraction(pause, drop))
        assert int(level) == free_starts(rate, full_at, now)
        assert now + max(0, -((level - 1) * drop // 1)) == free_at(rate, full_at, now, 1)
        if level >= 1:
            full_at, level = after_start(rate, full_at, now), level - 1
            least = min(least, count * drop - now)
            count += 1
            assert count * drop - now <= rate.runs * drop + least


def test_another_rate_and_another_time() -> None:
    """With another rate or after a step back of the clock, at most the whole budget is used up."""
    full_at = 0
    for _ in range(20):
        full_at = after_start(Rate(20, DAY), full_at, DAY)
    assert 0 == free_starts(Rate(20, DAY), full_at, DAY)
    assert [0, 3] == [free_starts(Rate(3, HOUR), full_at, now) for now in (DAY, 2 * DAY)]
    assert DAY + 20 * MINUTE == free_at(Rate(3, HOUR), full_at, DAY, 1)
    assert SECOND + 72 * MINUTE == free_at(Rate(20, DAY), full_at, SECOND, 1)
    assert DAY == free_at(Rate(20, DAY), 0, DAY, 20)
    assert DAY + 72 * MINUTE == free_at(Rate(20, DAY), 0, DAY, 21)
