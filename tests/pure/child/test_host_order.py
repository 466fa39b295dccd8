"""host_order: of many hosts each has its share, few ask at once, and all have asked in the end."""

from __future__ import annotations

from collections import Counter

import pytest

from jobqueued.base.instants import SECOND
from jobqueued.child.fleet.etcd.host_order import HostOrder

THINGS = [f"backup f{1_772_409_660 + 60 * number}" for number in range(3000)]


def hosts(count: int) -> list[str]:
    """The names of so many hosts."""
    return [f"host{number}" for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 30, 1000])
def test_one_host_at_each_place(count: int) -> None:
    """Of each thing one host is the first, one the second; of the others as many as were before come at once."""
    order = HostOrder(hosts(count))
    due, stage, step = [0, SECOND // 4, SECOND // 2], SECOND, SECOND * max(count, 200) // 400
    while len(due) < count:
        due += [stage] * len(due)
        stage += step
    for thing in THINGS[:20]:
        assert due[:count] == sorted(order.wait(host, thing) for host in hosts(count))
    assert max(due[:count]) <= (21 if count == 1000 else 2.5) * SECOND


@pytest.mark.parametrize("count", [2, 3, 4, 6, 30])
def test_equal_shares(count: int) -> None:
    """Each host is the first as often as any other; who is the first is found as second by turns, too."""
    order = HostOrder(hosts(count))
    for place in (0, SECOND // 4):
        shares = Counter(host for thing in THINGS for host in hosts(count) if order.wait(host, thing) == place)
        assert count == len(shares)
        assert len(THINGS) / count * 0.6 < min(shares.values())
        assert max(shares.values()) < len(THINGS) / count * 1.4


def test_who_comes_instead() -> None:
    """What a host leaves undone comes to all others in equal parts, and not to its neighbour."""
    order = HostOrder(hosts(5))
    of_first = [thing for thing in THINGS if order.wait("host0", thing) == 0]
    instead = Counter(host for thing in of_first for host in hosts(5) if order.wait(host, thing) == SECOND // 4)
    assert 4 == len(instead)
    assert min(instead.values()) > len(of_first) / 4 * 0.6


def test_the_same_on_all_hosts() -> None:
    """In whatever order hosts were heard of, theirs is the same; who is none of them comes last."""
    one, other = HostOrder(["b", "a", "c", "d"]), HostOrder(["d", "c", "b", "a"])
    assert all(one.wait(host, thing) == other.wait(host, thing) for thing in THINGS for host in "abcd")
    assert SECOND == one.wait("e", THINGS[0])
    assert 0 == HostOrder([]).wait("a", THINGS[0])
