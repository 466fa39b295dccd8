"""The budget of a `rate`: never more starts than it allows, none withheld that it allows, whatever changes."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from jobqueued.base.instants import DAY, HOUR, MINUTE, SECOND
from jobqueued.model.job import Rate, RateUse
from jobqueued.queue.rates import after_start, bounded, free_at, free_starts, refill_time, without_start


@pytest.mark.parametrize("seed", range(8))
def test_never_over_and_never_under(seed: int) -> None:
    """Over 20,000 random starts, as many are free as a bucket that is filled drop by drop has; in no span of time are
    there more than fit into it.
    """
    luck = random.Random(seed)
    rate = Rate(luck.choice([1, 2, 3, 7, 20, 999_999]), luck.choice([SECOND, MINUTE, HOUR, DAY]))
    drop = refill_time(rate)
    assert rate.per <= drop * rate.runs < rate.per + rate.runs
    now, use, level, count, least = 10**18, RateUse(), Fraction(rate.runs), 0, 10**30
    for _ in range(20_000):
        pause = luck.choice([0, 0, 1, drop - 1, drop, luck.randrange(3 * drop), luck.randrange(3 * rate.per)])
        now, level = now + pause, min(Fraction(rate.runs), level + Fraction(pause, drop))
        assert int(level) == free_starts(rate, use, now)
        assert now + max(0, -((level - 1) * drop // 1)) == free_at(rate, use, now, 1)
        if level >= 1:
            assert use.full_at <= now or use == without_start(after_start(rate, use, now))
            use, level = after_start(rate, use, now), level - 1
            least = min(least, count * drop - now)
            count += 1
            assert count * drop - now <= rate.runs * drop + least


def test_another_rate_and_another_time() -> None:
    """Under another rate as many starts are used up as before; after a step back of the clock, at most all are."""
    use = RateUse()
    for _ in range(5):
        use = after_start(Rate(20, DAY), use, DAY)
    assert [15, 1, 0, 5] == [
        free_starts(rate, use, DAY) for rate in (Rate(20, DAY), Rate(6, HOUR), Rate(3, HOUR), Rate(10, DAY))
    ]
    assert DAY + 20 * MINUTE == free_at(Rate(3, HOUR), use, DAY, 1)
    assert 0 == free_starts(Rate(20, DAY), use, SECOND)
    use = bounded(Rate(20, DAY), use, SECOND)
    assert [0, 1, 20] == [free_starts(Rate(20, DAY), use, SECOND + pause) for pause in (0, 72 * MINUTE, DAY)]
    assert DAY == free_at(Rate(20, DAY), RateUse(), DAY, 20)
    assert DAY + 72 * MINUTE == free_at(Rate(20, DAY), RateUse(), DAY, 21)
