"""The CPU time that a fleet takes of an etcd of three members, on loopback and without fsync: bench/scale.py reckons
with that.  It is asked and watched by its JSON gateway, as agents do.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.rig import cpu_seconds, wait_for
from bench.scale import Costs
from jobqueued.child.fleet import claims, ends, session, uplink
from jobqueued.child.fleet.claims import MOST, FleetClaim, Session, StoredKey
from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.wire import Message, coded
from tests.support.etcd import Cluster, Member, cluster
from tests.support.fleet_agent import agents

_STREAMS = 150
_ALONE, _BATCHES, _BEATS = 300, 60, 1500
_RUSH, _AT_ONCE, _APART = 800, 8, 1_000_000
_READER = """
import selectors, socket, sys
ready = selectors.DefaultSelector()
for number in map(int, sys.argv[1:]):
    ready.register(socket.socket(fileno=number), selectors.EVENT_READ)
while ready.get_map():
    for key, _ in ready.select():
        key.fileobj.recv(1 << 20) or ready.unregister(key.fileobj)
"""
"""Whoever reads all that is told, and looks at nothing of it."""
_BEGIN = 1_772_409_660


class Fleet:
    """What one host asks of each member in turn, in requests of one question or of many."""

    def __init__(self, etcd: Cluster) -> None:
        self._members = etcd.members
        self._ask_member(0)
        self.count = 0
        """The runs so far."""
        self._run, self._lock = self._granted(3600), self._granted(60)
        self._seconds = count(_BEGIN)
        put = {"request_put": {"key": coded(f"{claims.ROOT}hosts/bench"), "value": coded("bench:id")}}
        self._session = Session("bench:id", "bench", claims.revision(self._txn([{"success": [put]}])))
        self._idle = self._cpu(), time.monotonic()
        time.sleep(2)
        since, began = self._idle
        rate = time.monotonic() - began
        self._idle_rates = [(now - before) / rate for now, before in zip(self._cpu(), since, strict=True)]

    def _ask_member(self, number: int) -> None:
        self._gateway = Gateway([self._members[number].clients], 10)

    def _granted(self, seconds: int) -> int:
        return int(self._gateway.call("lease/grant", {"TTL": str(seconds)})["ID"])

    def _txn(self, parts: Sequence[Message]) -> Message:
        batch = claims.batch(parts)
        batch["success"].append({"request_put": {"key": coded(f"{claims.ROOT}writes/bench"), "value": coded("1 1")}})
        return self._gateway.call("kv/txn", batch)  # with what makes it one of a sequence

    def _cpu(self) -> list[float]:
        return [cpu_seconds([member.pid]) for member in self._members]

    def spent(self, times: int, act: Callable[[], object]) -> tuple[float, float]:
        """The CPU time (s) of something, of the member that is asked and of each other one."""
        asked = others = 0.0
        for number in range(len(self._members)):
            self._ask_member(number)
            before, began = self._cpu(), time.monotonic()
            for _ in range(times // len(self._members)):
                act()
            wait_for(self._is_quiet, 120)
            took = time.monotonic() - began
            now = zip(self._cpu(), before, self._idle_rates, strict=True)
            used = [after - since - took * idle for after, since, idle in now]
            asked += used.pop(number)
            others += sum(used) / len(used)
        done = times // len(self._members) * len(self._members)
        return asked / done, others / done

    def _is_quiet(self) -> bool:
        before = sum(self._cpu())
        time.sleep(0.5)
        return sum(self._cpu()) - before < 0.5 * sum(self._idle_rates) + 0.03

    def runs(self, at_once: int) -> None:
        """Claim so many runs, each with the place of its job, and tell of their ends: three parts each."""
        self.count += at_once
        wanted = [
            FleetClaim(f"job{number}", f"f{next(self._seconds)}", (f"job/job{number}",)) for number in range(at_once)
        ]
        leases = {"run": self._run, "lock": self._lock}
        asked = [claims.transaction(claim, self._session, {}, 0, leases) for claim in wanted]
        revision = claims.revision(self._txn(asked))
        lock = StoredKey("", revision, revision)
        ends = [part for claim in wanted for part in _ends(claim, self._session.store, lock)]
        for first in range(0, len(ends), MOST):
            self._txn(ends[first : first + MOST])

    def rushed(self) -> float:
        """The CPU time (s) of all members for a run, of many that several hosts claim one by one."""
        hosts = [copy(self) for _ in range(_AT_ONCE)]
        for number, host in enumerate(hosts):
            host._ask_member(number % len(self._members))
            host._seconds = count(next(self._seconds) + (number + 1) * _APART)
        before, began = sum(self._cpu()), time.monotonic()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: [host.runs(1) for _ in range(_RUSH // _AT_ONCE)], hosts))
        self.count += _RUSH
        wait_for(self._is_quiet, 120)
        return (sum(self._cpu()) - before - (time.monotonic() - began) * sum(self._idle_rates)) / _RUSH

    def beat(self) -> None:
        """Keep a lease alive."""
        session.beat(self._gateway, self._run)

    @contextmanager
    def watched(self, streams: int) -> Iterator[None]:
        """Have so many hosts, spread over the members, watch all that a host does."""
        members = [urlsplit(member.clients) for member in self._members]
        sockets = [_watching(members[number % len(members)]) for number in range(streams)]
        with _read(sockets):
            wait_for(self._is_quiet, 60)
            yield


def _ends(claim: FleetClaim, store: str, lock: StoredKey) -> list[Message]:
    locks = [(f"{claims.ROOT}locks/{name}", lock) for name in claim.locks]
    return ends.end(claim.job, claim.key, store, "succeeded", locks)


def _watching(member: Any) -> socket.socket:
    """A stream of all that changes, as an agent asks for it."""
    body = json.dumps(uplink.watching(0)).encode()
    stream = socket.create_connection((member.hostname, member.port))
    head = f"POST /v3/watch HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    stream.sendall(f"{head}\r\n\r\n".encode() + body)
    return stream


@contextmanager
def _read(sockets: Sequence[socket.socket]) -> Iterator[None]:
    """Have another process read all of them."""
    numbers = [each.fileno() for each in sockets]
    reader = subprocess.Popen([sys.executable, "-c", _READER, *map(str, numbers)], pass_fds=numbers)
    for each in sockets:
        each.close()
    try:
        yield
    finally:
        reader.kill()
        reader.wait()


def etcd_costs() -> dict[str, Any]:
    """All of scale.Costs, in µs; and the bytes of a run in etcd's file, until what was is forgotten, and then."""
    with tempfile.TemporaryDirectory(prefix="jobqueued-bench-") as name, cluster(Path(name)) as etcd:
        fleet = Fleet(etcd)
        fleet.spent(30, lambda: fleet.runs(MOST))  # for warmth
        alone, together = (
            fleet.spent(times, lambda n=n: fleet.runs(n)) for times, n in ((_ALONE, 1), (_BATCHES, MOST))
        )
        beat = fleet.spent(_BEATS, fleet.beat)
        in_a_rush = fleet.rushed()
        with fleet.watched(_STREAMS):
            told_alone = _more(fleet.spent(_ALONE // 5, lambda: fleet.runs(1)), alone) / _STREAMS
            told_in_a_rush = (fleet.rushed() - in_a_rush) / _STREAMS
        (request, part), (request_of_others, part_of_others) = (
            _solved(2, 3, one, 3, 3 * MOST, many) for one, many in zip(alone, together, strict=True)
        )
        event = told_in_a_rush / 4
        told = (told_alone - 4 * event) / 2
        found = [request, part, request_of_others, part_of_others, sum(beat) + beat[1], told, event]
        found.append(_of_agent(fleet, Path(name), etcd))
        return {**Costs(*(each * 1e6 for each in found))._asdict(), **_bytes(fleet, etcd.members[0])}


def _more(some: tuple[float, float], than: tuple[float, float]) -> float:
    """How much more CPU time all members take."""
    return sum(some) + some[1] - sum(than) - than[1]


def _solved(a: int, b: int, one: float, c: int, d: int, many: float) -> tuple[float, float]:
    """The x and y of a x + b y = one, c x + d y = many."""
    y = (many * a - one * c) / (a * d - b * c)
    return (one - b * y) / a, y


def _bytes(fleet: Fleet, member: Member) -> dict[str, float]:
    """The bytes that a run takes in the file of a member, with all its revisions, and with its last ones."""
    runs, before = _BATCHES * MOST, member.ask("maintenance/status", {})
    for _ in range(_BATCHES):
        fleet.runs(MOST)
    written = member.ask("maintenance/status", {})
    member.ask("kv/compaction", {"revision": written["header"]["revision"], "physical": True}, 30)
    member.ask("maintenance/defragment", {}, 60)
    kept = member.ask("maintenance/status", {})
    return {
        "written_bytes": (int(written["dbSizeInUse"]) - int(before["dbSizeInUse"])) / runs,
        "kept_bytes": int(kept["dbSizeInUse"]) / fleet.count,
    }  # fmt: skip


def _of_agent(fleet: Fleet, directory: Path, etcd: Cluster) -> float:
    """The CPU time (s) that an agent takes of an event of another host, in many at once."""
    with agents(directory, etcd.members[0].clients, "other") as (agent,):
        agent.hello(bench=_BEGIN)
        agent.hear("up", "")
        with _read([agent.connection]):
            before = cpu_seconds([agent.process.pid])
            fleet.spent(_BATCHES, lambda: fleet.runs(MOST))
            return (cpu_seconds([agent.process.pid]) - before) / (_BATCHES * MOST * 4)
