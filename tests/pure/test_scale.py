"""bench.scale: a large fleet on paper runs each occurrence once, and few of its hosts ask for it."""

from __future__ import annotations

import pytest

from bench.scale import COSTS, SECOND, Fleet, Row, row

HOSTS, JOBS = 60, 40


def lived(*, candidates: int = 0, latest: float = 60, burst: bool = True, hosts: int = HOSTS) -> Row:
    """The figures of a fleet that has lived for two minutes."""
    fleet = Fleet(hosts, JOBS, COSTS, cores=2, candidates=candidates, latest=round(latest * SECOND))
    fleet.live(2, burst=burst)
    return row(fleet, 2, COSTS)


@pytest.mark.parametrize("burst", [False, True])
def test_each_once(burst: bool) -> None:
    """Each job runs once a minute; its start and end are told to each host, and nobody asks who is not the first."""
    found = lived(burst=burst)
    assert (2 * JOBS, 0) == (found.runs, found.doubled)
    assert 4 * 2 * JOBS * HOSTS == found.told
    assert found.in_vain <= 0.1 * found.runs
    assert 0 < found.median <= found.late <= found.last < 1
    assert 0 < found.busiest < 1


def test_all_at_once() -> None:
    """Where no host leaves anything to others, nearly all of them ask in vain, and starts come later."""
    found = lived(latest=0)
    assert (2 * JOBS, 0) == (found.runs, found.doubled)
    assert found.in_vain > 0.9 * found.runs * (HOSTS - 1)
    assert found.last > 2 * lived().last


def test_few_candidates() -> None:
    """Where few hosts see to a job, only they hear of it."""
    found = lived(candidates=5)
    assert (2 * JOBS, 0, 4 * 2 * JOBS * 5) == (found.runs, found.doubled, found.told)


def test_more_hosts() -> None:
    """What etcd has to do grows with the hosts, and not faster."""
    few, many = lived(), lived(hosts=4 * HOSTS)
    assert 2 * few.busiest < many.busiest < 5 * few.busiest
    assert many.in_vain <= 0.1 * many.runs
