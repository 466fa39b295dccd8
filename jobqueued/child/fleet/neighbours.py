"""Other fleets in the same etcd: their hosts, and their jobs with the same names as ours. Pure.

Each host has a key with its fleet's name (namespace.py). Hosts that should be in one fleet, but have different names
for it, therefore notice each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.child.fleet.etcd.namespace import HOSTS, UP
from jobqueued.child.fleet.etcd.wire import Message, after_all, coded, text

_MOST, MOST_PARTS = 64, 8
"""Maximum hosts in a page, and maximum pages."""
_MOST_FLEETS, _MOST_JOBS = 32, 256
"""Maximum fleets whose jobs are compared, and maximum jobs per fleet."""
_MOST_NAME = 256
"""Maximum length of a name (characters)."""

Edges = list[tuple[str, str]]
"""Ranges of keys, each with begin and end."""


def place(fleet: str, host: str) -> str:
    """Return a host's key in its fleet."""
    return f"{HOSTS}{fleet}/{host}"


def others(fleet: str) -> Edges:
    """Return the ranges with the hosts of all other fleets."""
    own = f"{HOSTS}{fleet}/"
    return [(HOSTS, own), (after_all(own), after_all(HOSTS))]


def reading(edges: Edges) -> list[Message]:
    """Return a request for a page of each range."""
    return [_range(begin, end, _MOST) for begin, end in edges]


def left(edges: Edges, ranges: Iterable[Message]) -> Edges:
    """Return the ranges that remain after these pages. After a full page, the range continues with the next fleet."""
    found = list[tuple[str, str]]()
    for (_, end), kvs in zip(edges, map(_kvs, ranges), strict=True):
        if len(kvs) >= _MOST:
            fleet, _ = _place_of(kvs[-1])
            found.append((after_all(f"{HOSTS}{fleet}/"), end))
    return found


def reading_jobs(fleets: Iterable[str]) -> dict[str, Message]:
    """Return fleet → request that reads its jobs."""
    begins = {fleet: f"{UP}{fleet}/jobs/" for fleet in sorted(fleets)[:_MOST_FLEETS]}
    return {fleet: _range(begin, after_all(begin), _MOST_JOBS) for fleet, begin in begins.items()}


def _range(begin: str, end: str, limit: int) -> Message:
    wanted = {"key": coded(begin), "range_end": coded(end), "limit": str(limit), "keys_only": True}
    return {"request_range": wanted}


def _kvs(response: Message) -> list[Message]:
    found: list[Message] = response.get("response_range", {}).get("kvs", [])
    return found


def _place_of(kv: Message) -> tuple[str, str]:
    """Return the fleet and the host in a key."""
    fleet, _, host = text(kv["key"]).removeprefix("/jq/@/").partition("/")
    return fleet, host


def hosts_in(ranges: Iterable[Message]) -> dict[str, list[str]]:
    """Return fleet → its hosts in these pages."""
    found = dict[str, list[str]]()
    for fleet, host in (_place_of(kv) for each in ranges for kv in _kvs(each)):
        if len(fleet) <= _MOST_NAME and len(host) <= _MOST_NAME:
            found.setdefault(fleet, []).append(host)
    return found


def jobs_in(response: Message, fleet: str) -> list[str]:
    """Return a fleet's jobs in an answer."""
    names = (text(kv["key"]).removeprefix(f"/jq/{fleet}/jobs/") for kv in _kvs(response))
    return [name for name in names if len(name) <= _MOST_NAME]
