"""The usual: of runs like those before as many are late as is said, whatever their distribution."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.core.records.usual import ENOUGH, KEPT, LEAST, UNSURE, bound, bound_at, durations, likely, middle, noted

MS = SECOND // 1000


def test_a_list_of_durations() -> None:
    """The newest are kept, rounded up to milliseconds, so that the same again is never longer; what is short is 0."""
    times = ""
    for time in (5 * SECOND + 1, 0, SECOND - 1, SECOND, 3 * HOUR):
        times = noted(times, time)
    assert "5001 0 0 1000 10800000" == times
    assert [5001 * MS, 0, 0, SECOND, 3 * HOUR] == durations(times)
    assert ([], [0, 0]) == (durations(""), durations("0 0"))
    for time in range(1, 201):
        times = noted(times, time * SECOND)
    assert [time * SECOND for time in range(201 - KEPT, 201)] == durations(times)
    assert len(times) < 1000


def test_what_is_likely() -> None:
    """Half of the runs before took no longer, whatever one of them did; of what is below a second the mean is known."""
    assert [1, 2, 2] == [middle(known) for known in ([1], [3, 1, 2], [4, 2, 3, 1])]
    assert 61 * SECOND == likely("61000 60000 86400000", 5)
    assert [400 * MS, 400 * MS, None] == [likely("0 0 5000", 400 * MS), likely("", 400 * MS), likely("", None)]
    assert [SECOND, 0] == [likely("0 0 86400000", 6 * HOUR), likely("0 0 5000", None)]


def test_what_is_likely_of_one_that_lives() -> None:
    """By what took no less than it has by now, and no longer than it may; what took longer than all ends soon."""

    def seconds(limit: int | None, *passed: int) -> list[float]:
        times = "10000 10000 10000 60000 90000"
        return [(likely(times, None, limit, it * SECOND) or 0) / SECOND for it in passed]

    assert [10, 60, 90, 101] == seconds(None, 10, 11, 61, 100)
    assert [10, 30, 41] == seconds(30 * SECOND, 0, 11, 40)
    assert [30 * SECOND, 5 * SECOND] == [likely("", None, 30 * SECOND), likely("", 5 * SECOND, 30 * SECOND)]


@pytest.mark.parametrize(
    ("level", "known", "expected"),
    [
        (0.95, range(19), None),  # too few tell nothing
        (0.95, range(20), 19),  # the longest of the newest 19
        (0.95, range(20, 0, -1), 19),
        (0.95, [999, *range(19)], 18),  # which is why one that is long ago does not count
        (0.95, range(38), 37),
        (0.95, range(39), 37),  # the second longest of 39
        (0.95, range(99), 94),  # the fifth of 99
        (0.99, range(98), None),
        (0.99, range(99), 98),
        (0.5, range(20), 10),  # the tenth of the newest 19
    ],
)
def test_the_bound_at_a_level(level: float, known: list[int], expected: int | None) -> None:
    """The k-th longest of so many that k / (n + 1) is what may be late."""
    assert expected == bound_at(level, list(known))


LAWS: dict[str, Callable[[random.Random], float]] = {
    "exponential": lambda chance: chance.expovariate(1 / 300),
    "lognormal": lambda chance: chance.lognormvariate(5, 1.5),
    "steady": lambda chance: chance.gauss(600, 0.5),
    "heavy": lambda chance: 60 * chance.paretovariate(1.1),
    "two kinds": lambda chance: chance.gauss(100, 5) if chance.random() < 0.8 else chance.gauss(3600, 60),
}


def test_false_alarms_of_10_000_jobs() -> None:
    """Over 10,000 jobs of five distributions as many runs are late as is stated, within 0.3 points; by default fewer
    than one in n + 1.
    """
    chance = random.Random(16)
    levels = {0.9: ENOUGH, 0.95: ENOUGH, 0.99: KEPT}
    late, of, most = dict.fromkeys([*levels, None], 0), dict.fromkeys([*levels, None], 0), 0.0
    for number in range(10_000):
        law = LAWS[list(LAWS)[number % len(LAWS)]]
        known = [round(law(chance) * SECOND) for _ in range(KEPT if number % 2 else chance.randint(ENOUGH, KEPT))]
        for _ in range(4):
            took = round(law(chance) * SECOND)
            for level, enough in levels.items():
                if len(known) >= enough:
                    of[level] += 1
                    late[level] += took > (bound_at(level, known) or 0)
            of[None] += 1
            most += 1 / (len(known) + 1)
            late[None] += took > (bound(None, known) or 0)
            known = [*known, took][-KEPT:]
    rates = {level: 100 * late[level] / of[level] for level in of}
    assert dict.fromkeys(levels, True) == {level: abs(rates[level] - 100 * (1 - level)) < 0.3 for level in levels}
    assert 0 < rates[None] < 100 * most / of[None]


def test_the_default_bound() -> None:
    """Three times the mean, or the longest, and no less than some minutes; nothing where nothing is known."""
    assert None is bound(None, [])
    assert UNSURE == bound(None, [SECOND])
    assert 3 * HOUR == bound(None, [HOUR])
    assert 9 * HOUR == bound(None, [9 * HOUR, *[MINUTE] * 9])
    assert LEAST == bound(None, [SECOND] * ENOUGH)
    assert 3 * MINUTE == bound(None, [MINUTE] * ENOUGH)
    assert 3 * MINUTE == bound(0.99, [MINUTE] * (KEPT - 1))
    assert MINUTE == bound(0.99, [MINUTE] * KEPT)
    assert UNSURE == bound(0.5, [MINUTE] * (ENOUGH - 1))
