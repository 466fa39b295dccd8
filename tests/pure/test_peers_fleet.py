"""bench.peers.fleet: what is counted from a ledger, by hand, and the faults that a seed draws."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from bench.peers.fleet import SECONDS, steps, told
from bench.peers.fleet_ledger import JOBS, Job, Line, counted, overlaps, read

JOB = Job("a", 5, 1)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
"""The begin of a minute."""
DUES = [NOON + 5, NOON + 65, NOON + 125]


def line(at: float, what: str = "start", run: str = "alpha:1", due: float | None = None) -> Line:
    """A line of the one job."""
    return Line(what, "-" if what == "down" else JOB.name, due, run, NOON + at)


@pytest.mark.parametrize(("begin", "end", "found"), [(0, 180, 3), (4.9, 125, 3), (5, 124.9, 1), (6, 64, 0)])
def test_dues(begin: float, end: float, found: int) -> None:
    """What is due at the begin was due before; what is due at the end is."""
    assert found == len(list(JOB.dues(NOON + begin, NOON + end)))


@pytest.mark.parametrize(
    ("starts", "once", "again", "never"),
    [
        ([5.0, 65.2, 125], 3, [], []),
        ([5, 125], 2, [], [1]),
        ([5, 64.96, 125], 3, [], []),  # as the clock of the ledger has hundredths
        ([5, 6, 65, 124.9, 125], 1, [0, 1], []),
        ([5, 5.01, 125], 1, [0], [1]),
        ([], 0, [], [0, 1, 2]),
        ([3, 5, 65, 125, 186], 3, [], []),  # the first is one of before, the last one of after
    ],
)
def test_counted_by_time(starts: list[float], once: int, again: list[int], never: list[int]) -> None:
    """A start that is not told its due time is that of the last one before it."""
    found = counted([line(at, run=f"alpha:{at}") for at in starts], [JOB], NOON, NOON + 180)
    assert (3, once) == (found.due, found.once)
    assert ([DUES[each] for each in again], [DUES[each] for each in never]) == (found.again, found.never)


def test_counted_as_told() -> None:
    """A start that is told its due time is of that, however late; after a minute it is none in time."""
    starts = [line(70, due=DUES[0]), line(66, due=DUES[1]), line(126, due=DUES[2]), line(190, due=DUES[2])]
    found = counted(starts, [JOB], NOON, NOON + 180)
    assert (1, [DUES[2]], [DUES[0]], [1, 1, 65]) == (found.once, found.again, found.never, found.late)


def test_read() -> None:
    """A ledger is read as the jobs, and the fall of a host, write it."""
    text = (
        "start a 2026-11-29T12:00:05.000000Z alpha:7 12.50\nend a - alpha:7 13.50\n"
        "down - 2026-11-29T12:00:10+00:00 alpha:-.0 20.00 0\n"
    )
    assert [line(12.5, run="alpha:7", due=DUES[0]), line(13.5, "end", "alpha:7")] == read(text, NOON)[:2]
    assert ("down", "alpha") == (read(text, NOON)[2].what, read(text, NOON)[2].host)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([line(5), line(6, "end"), line(65, run="beta:2")], 0),
        ([line(5), line(65, run="beta:2"), line(66, "end")], 1),
        ([line(5), line(10, "down", "alpha:-"), line(65, run="beta:2")], 0),
        ([line(5), line(10, "down", "gamma:-"), line(65, run="beta:2")], 1),
        ([line(5), line(65, run="beta:2"), line(66, "end", "beta:2"), line(125, run="beta:3")], 1),
    ],
)
def test_overlaps(lines: list[Line], found: int) -> None:
    """A start beside a live run is one; a run ends with its host, and counts at one start only."""
    assert found == overlaps(lines)


@pytest.mark.parametrize("seed", range(20))
def test_steps(seed: int) -> None:
    """Three minutes have each fault once, six each twice; one ends before the next begins, and the seed tells all."""
    plan = steps(seed, 6)
    assert steps(seed, 6) == plan
    assert steps(seed, 3) == plan[: len(SECONDS)]
    assert dict.fromkeys(SECONDS, 2) == Counter(step.fault for step in plan)
    assert all(before.at + SECONDS[before.fault] < after.at for before, after in pairwise(plan))


def test_told() -> None:
    """What came due after a fault, and before the next, is put down to it."""
    plan = steps(1, 1)
    first, second = (step.at for step in plan)
    assert "none" == told(plan, NOON, [])
    dues = [NOON + first - 1, NOON + first, NOON + second - 0.1, NOON + second]
    assert f"2 after {plan[0].fault!r}" in told(plan, NOON, dues)
    assert f"1 after {plan[1].fault!r}" in told(plan, NOON, dues)


def test_jobs() -> None:
    """Each job has a name of its own and is due once a minute, 20 of them at once."""
    assert len({job.name for job in JOBS}) == len(JOBS)
    assert all(len(list(job.dues(NOON, NOON + 60))) == 1 for job in JOBS)
    assert 20 == max(Counter(job.second for job in JOBS).values())
