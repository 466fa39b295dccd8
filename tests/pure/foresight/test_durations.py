"""Durations are drawn from what was: as often as it was, by streams that nothing else changes."""

from __future__ import annotations

from collections import Counter

import pytest

from jobqueued.base.instants import HOUR, MINUTE, SECOND
from jobqueued.foresight.durations import GUESSED, Draws, Durations, DurationSample, samples
from tests.support.futures import a_host, chance, future, took
from tests.support.world import job


def test_the_distribution_is_that_of_the_history() -> None:
    """Of 4,000 draws each duration has its part, within four standard deviations, and no other comes."""
    draws = Draws(Durations({"a": took(1, 1, 1, 60)}), chance())
    found = Counter(draws.next(job("a")).took for _ in range(4000))
    assert {SECOND, MINUTE} == found.keys()
    assert found[SECOND] == pytest.approx(3000, abs=110)


def test_a_seed_tells_the_future() -> None:
    """The same seed gives the same future, another seed another, and another job changes nobody's draws."""
    jobs = [job("a", "*/5 * * * *"), job("b", "*/7 * * * *")]
    seconds = {"a": took(*range(1, 50)), "b": took(*range(100, 200))}

    def busy(seed: int, *more: str) -> dict[str, int]:
        host = a_host(*jobs, *(job(name, "* * * * *") for name in more), seconds=dict(seconds))
        return {name: it.busy for name, it in future(host, seed=seed).jobs.items() if name in seconds}

    assert busy(1) == busy(1) == busy(1, "c")
    assert busy(1) != busy(2)


def test_what_nobody_knows() -> None:
    """Without any run there is the time that was given for such jobs, else the timeout, else a minute."""
    a, b = job("a", timeout=HOUR), job("b")
    assert [DurationSample(HOUR)] == Durations({}).of(a)
    assert [DurationSample(GUESSED)] == Durations({"b": []}).of(b)
    assert [DurationSample(SECOND)] == Durations({}, SECOND).of(a)


def test_samples_of_a_record() -> None:
    """Each attempt of the job's command that has ended by itself tells; a stop and a failover do not."""
    begun = {"started": "2026-03-02T00:00:00.000000Z", "ended": "2026-03-02T00:00:01.500000Z", "state": "succeeded"}
    attempts = [
        {**begun, "state": "failed", "exit_code": 3}, {**begun, "state": "killed"}, {**begun, "failover": True},
        {**begun, "ended": None}, {**begun, "exit_code": 0},
    ]  # fmt: skip
    took = 1_500_000_000
    assert [DurationSample(took, "failed", 3), DurationSample(took)] == samples({"attempts": attempts})


def test_what_is_live_takes_longer_than_it_has() -> None:
    """Of what is live only times that are not over are drawn; one that took longer than all ends in a second."""
    draws = Draws(Durations({"a": took(1, 2, 30)}), chance())
    assert 30 * SECOND == draws.rest(job("a"), 5 * SECOND).took
    assert 41 * SECOND == draws.rest(job("a"), 40 * SECOND).took
    assert 30 * SECOND == draws.rest(job("a"), 30 * SECOND).took
