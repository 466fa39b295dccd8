"""The summary: bands over futures, the worst job first, and what binds."""

from __future__ import annotations

from jobqueued.base.instants import HOUR, MINUTE
from jobqueued.foresight.futures import play
from jobqueued.foresight.summary import Band, lacked, peaks, rows, wait_at
from jobqueued.foresight.tally import Blame, Tally
from jobqueued.model.job import Claim
from jobqueued.model.run import RunId
from tests.support.futures import a_host, chance, took
from tests.support.world import job


def test_bands() -> None:
    """What differs from draw to draw has a band; waits are those of all draws together."""
    lock = (Claim("db", exclusive=True),)
    host = a_host(
        job("backup", "0 * * * *", locks=lock), job("report", "10 * * * *", locks=lock),
        seconds={"backup": took(60, 1200), "report": 1},
    )  # fmt: skip
    futures = play(host, host.begin + 12 * HOUR, [chance(seed) for seed in range(8)])
    first, second = rows(futures)
    assert ("report", Band(12, 12), "backup", 0) == (first.job, first.runs, second.job, second.waited)
    assert 0 < first.late.least < first.late.most <= 12
    assert (10 * MINUTE, 10 * MINUTE) == (first.most, first.longest)
    assert [("db", sum(future.waited for future in futures), ["backup"])] == [
        (name, time, [job for job, _ in holders]) for name, time, holders in lacked([first, second])
    ]
    assert Blame("db", "backup") == first.blamed[0][0]
    assert ("3", "1,000…2,000") == (str(Band(3, 3)), str(Band(1000, 2000)))


def test_waits_of_all_runs() -> None:
    """Runs that start as planned count as waits of 0."""
    waits = [10, 20, 30]
    assert [0, 10, 20, 30] == [wait_at(level, waits, 6) for level in (0.5, 0.6, 0.75, 1.0)]
    assert [0, 10] == [wait_at(0.5, [], 6), wait_at(0.5, [10], 1)]


def test_peaks_of_all_futures() -> None:
    """The hours in which most runs are live in any future, at the instant of that, with the least and the most."""
    futures = [Tally(), Tally()]
    for future, lengths in zip(futures, ((3, 1), (1, 9)), strict=True):
        for number, length in enumerate(lengths):
            for hour in (2, 5):
                start = hour * HOUR + 2 * number * MINUTE
                future.attempted(RunId("a", number), start, start + length * MINUTE)
    futures[1].attempted(RunId("b", 1), 5 * HOUR + 3 * MINUTE, 5 * HOUR + 4 * MINUTE)
    first, last = (2 * HOUR + 2 * MINUTE, Band(1, 2)), (5 * HOUR + 2 * MINUTE, Band(2, 2))
    assert [first, last] == peaks(futures, 9, HOUR, 0)
    futures[1].attempted(RunId("c", 1), 5 * HOUR + 3 * MINUTE, 5 * HOUR + 4 * MINUTE)
    assert [(5 * HOUR + 3 * MINUTE, Band(2, 3))] == peaks(futures, 1, HOUR, 0)
    assert [(5 * HOUR + 3 * MINUTE, Band(2, 3))] == peaks(futures, 9, HOUR, 3 * HOUR)[:1]


def test_peaks_count_futures_in_which_nothing_starts_then() -> None:
    """One that is idle has none live, one whose runs go on has these, also where fewer live once something starts."""
    busy, idle, long = Tally(), Tally(), Tally()
    for number in (1, 2):
        busy.attempted(RunId("a", number), 2 * HOUR + 9 * MINUTE, 2 * HOUR + 10 * MINUTE)
    assert [(2 * HOUR + 9 * MINUTE, Band(0, 2))] == peaks([busy, idle], 9, HOUR, 0)
    for number in (1, 2, 3):
        long.attempted(RunId("b", number), HOUR - number, 2 * HOUR + MINUTE)
    before = (HOUR - 1, Band(0, 3))
    assert [(2 * HOUR, Band(0, 3)), before] == sorted(peaks([busy, idle, long], 9, HOUR, 0), reverse=True)
    long.attempted(RunId("c", 1), 2 * HOUR + 30 * MINUTE, 3 * HOUR)
    assert [before, (2 * HOUR, Band(2, 3))] == peaks([busy, long], 9, HOUR, 0)
    assert [(2 * HOUR, Band(2, 3))] == peaks([busy, long], 9, HOUR, 2 * HOUR)
    busy.attempted(RunId("a", 3), 5 * HOUR, 5 * HOUR + MINUTE)
    assert [(5 * HOUR, Band(0, 1))] == peaks([busy, long], 9, HOUR, 5 * HOUR)
