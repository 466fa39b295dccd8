"""Pauses from try to try of an agent: short ones where etcd can't be reached, and not the same for all hosts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child.fleet import session, uplink
from jobqueued.child.fleet.etcd.gateway import EtcdUnreachable, Gateway
from jobqueued.child.fleet.mark import EtcdMark
from jobqueued.child.fleet.uplink import Uplink
from tests.support.etcd import etcd
from tests.support.host import wait_for
from tests.support.receivers import WebServer, answer

NO_LEADER = answer("503 Service Unavailable", b'{"error":{"code":14,"message":"etcdserver: no leader"}}\n')
NO_RIGHTS = answer("403 Forbidden", b'{"code":7,"message":"etcdserver: permission denied"}')


@pytest.mark.parametrize(
    ("said", "pauses"),
    [(NO_LEADER, [0.2, 0.4, 0.8, 1.6, 2, 2, 2]), (NO_RIGHTS, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])],
)
def test_how_long_they_are(said: bytes, pauses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They grow to 2 s where no member answers, and to 10 s where one refuses."""
    asked, others = list[float](), set(threading.enumerate())

    def none(pause: float) -> float:
        asked.append(pause)
        return 0

    monkeypatch.setattr(uplink, "_some", none)
    files: dict[str, Any] = dict.fromkeys(("authority", "certificate", "key", "common"), "")
    with WebServer(said) as member:
        host = {"etcd": [member.url], "fleet": "fleet", "host": "a", "store": "id", "lock_grace": 60}
        found = Uplink({**host, **files}, str(tmp_path / "session"), lambda: None)
        found.hello(EtcdMark(), {})
        wait_for(lambda: len(asked) >= len(pauses), why="tries")
        found.stop()
    wait_for(lambda: others.issuperset(threading.enumerate()), why="the end of its threads")
    assert pauses == asked[: len(pauses)]


def test_they_differ() -> None:
    """A half to all of a pause is waited."""
    found = {uplink._some(2) for _ in range(2000)}
    assert (True, True, True) == (1 <= min(found) < 1.1, 1.9 < max(found) <= 2, len(found) > 100)


@pytest.mark.parametrize("is_alive", [True, False])
def test_watches_that_bring_nothing(*, is_alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of an etcd that keeps the session alive and no watch; of one that is away only once that is over."""
    (tmp_path / "etcd").mkdir()
    files: dict[str, Any] = dict.fromkeys(("authority", "certificate", "key", "common"), "")
    others = set(threading.enumerate())

    def mute(*_: Any) -> None:
        raise EtcdUnreachable("no news")

    def no_beat(*_: Any) -> int:
        raise EtcdUnreachable("it is away")

    monkeypatch.setattr(Gateway, "stream", mute)
    if not is_alive:
        monkeypatch.setattr(session, "beat", no_beat)
    with etcd(tmp_path / "etcd") as address:
        host = {"etcd": [address], "fleet": "fleet", "host": "a", "store": "id", "lock_grace": 60}
        found = Uplink({**host, **files}, str(tmp_path / "session"), lambda: None)
        found.hello(EtcdMark(), {})
        reasons = list[str]()

        def is_down() -> bool:
            reasons.extend(line[1] for line in found.lines() if line[0] == "up" and line[1])
            return bool(reasons)

        wait_for(is_down, why="that nothing can be asked", seconds=30)
        found.stop()
    wait_for(lambda: others.issuperset(threading.enumerate()), why="the end of its threads", seconds=30)
    assert reasons[0].startswith("etcd answers but sends no events") == is_alive, reasons
