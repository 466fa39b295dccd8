"""A host's session in etcd: a key that lives as long as its lease is kept alive, and leases for the host's claims.

    /jq/hosts/HOST    STORE BOOT …
    /jq/writes/HOST   …

A file saves the leases, so that a new agent can resume the previous agent's session.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet import claims, mark, neighbours, writes
from jobqueued.child.fleet.claims import NOTHING, Session, StoredKey
from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.wire import Message, after_all, coded, text
from jobqueued.child.fleet.mark import EtcdMark

SECOND = 1_000_000_000
TTL = 10
"""Time (s) that a session lives without being kept alive."""
RUNS = f"{claims.ROOT}runs/"
_PAGE = 2000
"""Maximum keys read in a call."""
_LEASE_USES = 1000
_MARGIN = 4 * 3600
"""Additional time (s) that etcd remembers an occurrence.

A new definition may reach etcd an hour later, and the clocks of all hosts may be set back by 3 h.
"""


class Closed(Exception):
    """The fleet must not be used, because outcomes would be uncertain; the message has the reason."""


class NotOver(Closed):
    """Another session has this host's name and must end first; this host must not keep it alive."""


class Leases(NamedTuple):
    """A session's leases: its own lease, and its locks' lease (0 means no lease yet)."""

    session: int
    locks: int


class OpenSession(NamedTuple):
    """An open session, which can make claims."""

    session: Session
    leases: Leases
    grace: int
    """Time (s) that locks live without being kept alive."""
    last: StoredKey
    """The last write by the session's previous agent."""


def now() -> int:
    """Return the current instant (BOOTTIME, ns). This clock advances while the host sleeps, as leases do."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def open_session(gateway: Gateway, settings: Mapping[str, Any], path: str) -> OpenSession:
    """Resume the session saved in `path`, or open a new one. Raises EtcdUnreachable, Rejected, Closed and OSError."""
    store, host = f"{settings['host']}:{settings['store']}", settings["host"]
    kept, grace = _kept(path, store), settings["lock_grace"]
    session = kept.session if _alive(gateway, kept.session) else _granted(gateway, TTL)
    if alive := _alive(gateway, kept.locks):  # an old lease keeps its duration and locks
        locks, grace = kept.locks, alive
    else:
        locks = _granted(gateway, grace)
    leases = Leases(session, locks)
    if leases != kept:
        atomic_file.replace(path, json.dumps([store, *leases]).encode())
    own = Session(store, host, 0, _boot_id(), fleet=settings["fleet"], common=settings["common"])
    answer = gateway.call("kv/txn", writes.opening(own, f"{store} {own.boot} - - {own.common}".rstrip(), session))
    if answer.get("succeeded"):
        revision = claims.revision(answer)
        return OpenSession(own._replace(created=revision, written=revision), leases, grace, NOTHING)
    for kv in answer["responses"][0]["response_range"].get("kvs", ()):
        if int(kv.get("lease", 0)) != session:
            raise NotOver(_whose(host, store, claims.kept(kv).value))
        own, last = own._replace(created=int(kv["create_revision"])), claims.read(answer).get(own.writes, NOTHING)
        answer = gateway.call("kv/txn", writes.taking_over(own, last, session))
        if answer.get("succeeded"):
            return OpenSession(own._replace(written=claims.revision(answer)), leases, grace, last)
    return open_session(gateway, settings, path)  # the session just ended, or another write came last


def _whose(host: str, store: str, value: str) -> str:
    if value.partition(" ")[0] == store:
        return (
            f"an earlier session of {host} still exists; if it does not expire within {2 * TTL} s,"
            " another host has a copy of this host's state.db"
        )
    remedy = "each host needs its own name: hostnamectl hostname NAME"
    return f"another host in the fleet uses, or used until now, the name {host}; {remedy}"


def check(gateway: Gateway, store: str, seen: EtcdMark) -> EtcdMark:
    """Check that etcd contains all writes up to the mark `seen`, and return etcd's mark.

    Raises Closed if writes are missing, EtcdUnreachable and Rejected.
    """
    found = marked(gateway)
    if (message := mark.settling(found, seen, f"{store} {os.urandom(8).hex()}")) is not None:
        gateway.call("kv/txn", message)  # or another host did so
        found = marked(gateway)
    if not seen.is_in(found):
        raise Closed(
            "etcd was restored to an earlier state: it lost the newest runs of this fleet, and these might run again;"
            " to accept this state: jobqueuectl fleet accept"
        )
    return found


def look_around(gateway: Gateway, fleet: str) -> tuple[EtcdMark, dict[str, list[str]]]:
    """Return etcd's mark and other fleets' hosts. Raises EtcdUnreachable and Rejected."""
    edges = neighbours.others(fleet)
    answer = gateway.call("kv/txn", {"success": [*neighbours.reading(edges), {"request_range": mark.READING}]})
    ranges, parts = answer["responses"][: len(edges)], 1
    fleets = neighbours.hosts_in(ranges)
    while (edges := neighbours.left(edges, ranges)) and parts < neighbours.MOST_PARTS:
        ranges, parts = gateway.call("kv/txn", {"success": neighbours.reading(edges)})["responses"], parts + 1
        fleets |= neighbours.hosts_in(ranges)
    return mark.read(answer), fleets


def jobs_of(gateway: Gateway, fleets: Iterable[str]) -> dict[str, list[str]]:
    """Return other fleets' jobs. Raises EtcdUnreachable and Rejected."""
    wanted = neighbours.reading_jobs(fleets)
    responses = gateway.call("kv/txn", {"success": [*wanted.values()]})["responses"]
    return {name: neighbours.jobs_in(each, name) for name, each in zip(wanted, responses, strict=True)}


def marked(gateway: Gateway) -> EtcdMark:
    """Return etcd's mark. Raises EtcdUnreachable and Rejected."""
    return mark.read(gateway.call("kv/range", mark.READING))


def beat(gateway: Gateway, lease: int) -> int:
    """Keep a lease alive. Return the earliest instant (BOOTTIME, ns) when it may end, or 0 if it ended.

    Raises EtcdUnreachable and Rejected.
    """
    sent = now()
    ttl = _keep_alive(gateway, lease)
    return sent + ttl * SECOND if ttl > 0 else 0


def snapshot(gateway: Gateway, since: Mapping[str, int]) -> Iterator[tuple[int, dict[str, StoredKey]]]:
    """Yield all the fleet's keys in parts, each part with the common revision. Raises EtcdUnreachable and Rejected.

    `since`: job → first second whose occurrences are included.
    """
    ranges, revision = deque(claims.ranges(since)), 0
    while ranges:
        asked = [ranges.popleft() for _ in range(min(len(ranges), claims.MOST))]
        limit = _PAGE // len(asked)
        answer = gateway.call("kv/txn", {"success": [_range(*each, limit, revision) for each in asked]})
        revision = revision or claims.revision(answer)
        found = dict[str, StoredKey]()
        for (_, end), each in zip(asked, answer["responses"], strict=True):
            part, following = _found(each["response_range"])
            found |= part
            if following:
                ranges.append((following, end))
        yield revision, found


def occurrences(gateway: Gateway, key: str) -> tuple[dict[str, StoredKey], str]:
    """Return a page of all occurrences, and the next key ("" at the end). Raises EtcdUnreachable and Rejected."""
    return _found(gateway.call("kv/range", _range(key, after_all(RUNS), _PAGE)["request_range"]))


def _range(key: str, end: str, limit: int, revision: int = 0) -> Message:
    wanted = {"key": coded(key), "range_end": coded(end), "limit": str(limit), "revision": str(revision)}
    return {"request_range": wanted}


def _found(answer: Message) -> tuple[dict[str, StoredKey], str]:
    """Return the keys in an answer, and the key after them ("" at the end)."""
    found = {text(kv["key"]): claims.kept(kv) for kv in answer.get("kvs", ())}
    return found, f"{list(found)[-1]}\0" if answer.get("more") else ""


class RunLease:
    """The lease that lets etcd remember occurrences. About a thousand occurrences share a lease."""

    def __init__(self) -> None:
        self._lease = self._left = self._keep = self._until = 0

    def take(self, gateway: Gateway, keep: int, most: int) -> int:
        """Return a lease of at least `keep` seconds for `most` occurrences. Raises EtcdUnreachable and Rejected."""
        if self._left < most or keep > self._keep or now() >= self._until:
            self._lease = _granted(gateway, keep + keep // 8 + _MARGIN)
            self._left, self._keep, self._until = _LEASE_USES, keep, now() + keep // 8 * SECOND
        self._left -= most
        return self._lease


def _granted(gateway: Gateway, seconds: int) -> int:
    return int(gateway.call("lease/grant", {"TTL": str(seconds)})["ID"])


def _alive(gateway: Gateway, lease: int) -> int:
    """Keep a lease alive. Return the seconds that the lease lives, or 0 if it ended."""
    return _keep_alive(gateway, lease) if lease else 0


def _keep_alive(gateway: Gateway, lease: int) -> int:
    return int(gateway.call("lease/keepalive", {"ID": str(lease)})["result"].get("TTL", 0))


def _kept(path: str, store: str) -> Leases:
    """Read the leases of this host's session from the file. Return zeros if the file has none."""
    with suppress(OSError, ValueError, TypeError):
        whose, session, locks = json.loads(atomic_file.content(path))
        if whose == store:
            return Leases(int(session), int(locks))
    return Leases(0, 0)


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def revoke(gateway: Gateway, lease: int) -> None:
    """End a lease, which deletes all its keys. Raises EtcdUnreachable and Rejected."""
    gateway.call("lease/revoke", {"ID": str(lease)})
