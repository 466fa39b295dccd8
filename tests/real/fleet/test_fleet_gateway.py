"""Calls of etcd's gateway go to another member where one has no leader, goes silent, or is no etcd at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from jobqueued.child.fleet.etcd.gateway import EtcdUnreachable, Gateway, Rejected
from tests.support.receivers import WebServer, answer

NO_LEADER = b'{"error":{"code":14,"message":"etcdserver: no leader"}}\n'
"""As etcd 3.5 says it where a stream has not begun, and in one that has."""
NEWS = b'{"result":{"header":{"revision":"7"}}}\n'


@pytest.fixture
def good() -> Iterator[WebServer]:
    """A member that is well."""
    with WebServer(answer("200 OK", NEWS)) as found:
        yield found


@pytest.mark.parametrize(
    "bad",
    [answer("503 Service Unavailable", NO_LEADER), answer("503 Service Unavailable", b'{"code":14,"message":"x"}'),
     answer("504 Gateway Timeout", b'{"code":4,"message":"context deadline exceeded"}'), b""],
)  # fmt: skip
def test_a_member_that_can_not(good: WebServer, bad: bytes) -> None:
    """The next member is asked at once, and from now on."""
    with WebServer(bad) as member:
        gateway = Gateway([member.url, good.url], 5)
        for _ in range(2):
            assert {"result": {"header": {"revision": "7"}}} == gateway.call("lease/keepalive", {})
        assert 1 == len(member.requests)


@pytest.mark.parametrize("bad", [NEWS, NEWS + NO_LEADER, NEWS + b"null\n", NEWS + b'{"resu'])
def test_a_stream_that_ends(good: WebServer, bad: bytes) -> None:
    """It is for the caller to go on, and that leads to another member."""
    with WebServer(answer("200 OK", bad)) as member:
        gateway = Gateway([member.url, good.url], 5)
        stream = gateway.stream("watch", {})
        assert {"header": {"revision": "7"}} == next(stream)
        with pytest.raises(EtcdUnreachable, match=member.url):
            next(stream)
        next(gateway.stream("watch", {}))
        assert 1 == len(good.requests)


@pytest.mark.parametrize("bad", [b"null", b"[]", b'"', b'{"header"'])
def test_no_answer_of_etcd(good: WebServer, bad: bytes) -> None:
    """What is no document of etcd's is a failure of that member, also if it says that all is well."""
    with WebServer(answer("200 OK", bad)) as member:
        gateway = Gateway([member.url, good.url], 5)
        with pytest.raises(EtcdUnreachable, match=member.url):
            gateway.call("kv/txn", {})
        assert {"result": {"header": {"revision": "7"}}} == gateway.call("kv/txn", {})


@pytest.mark.parametrize(
    "date",
    [
        datetime(1970, 1, 1), datetime(2000, 2, 28, 23, 59, 59), datetime(2000, 2, 29), datetime(2000, 3, 1),
        datetime(2023, 12, 31, 23, 59, 59), datetime(2024, 1, 1), datetime(2100, 2, 28), datetime(2100, 3, 1),
        *(datetime(2026, month, 13, 1, 2, 3) for month in range(1, 13)),
    ],
)  # fmt: skip
def test_the_clock_of_a_member(date: datetime) -> None:
    """An answer has its time; how far the clock of this host is from that is known to the second."""
    told = date.replace(tzinfo=UTC)
    with WebServer(answer("200 OK", NEWS, Date=format_datetime(told, usegmt=True))) as member:
        gateway = Gateway([member.url], 5)
        gateway.call("kv/txn", {})
    assert abs((datetime.now(UTC) - told).total_seconds() - gateway.ahead) < 20


@pytest.mark.parametrize("date", ["", "now", "Sat, 28 Now 2026 18:00:00 GMT", "Saturday, 28-Nov-26 18:00:00 GMT"])
def test_a_member_without_a_clock(date: str) -> None:
    """An answer whose time can't be told is one all the same."""
    with WebServer(answer("200 OK", NEWS, Date=date)) as member:
        gateway = Gateway([member.url], 5)
        assert ({"result": {"header": {"revision": "7"}}}, 0.0) == (gateway.call("kv/txn", {}), gateway.ahead)


def test_a_refusal(good: WebServer) -> None:
    """What etcd refuses, no other member is asked for."""
    with WebServer(
        answer("400 Bad Request", b'{"code":3,"message":"etcdserver: duplicate key given in txn request"}')
    ) as member:
        with pytest.raises(Rejected, match="duplicate key"):
            Gateway([member.url, good.url], 5).call("kv/txn", {})
        assert not good.requests
