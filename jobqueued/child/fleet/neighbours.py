"""Other fleets in the same etcd: which hosts they have, and which of their jobs have the names of ours.  Pure.

Each host has a key with the name of its fleet (namespace.py), so that those see each other that were to be of one
fleet, and have two names for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.child.fleet.namespace import HOSTS, UP
from jobqueued.child.fleet.wire import Message, after_all, coded, text

_MOST = 64
_MOST_JOBS = 256
"""Hosts, and jobs of one of these fleets, that are told of."""


def place(fleet: str, host: str) -> str:
    """The key of a host in its fleet."""
    return f"{HOSTS}{fleet}/{host}"


def reading(fleet: str) -> list[Message]:
    """The ranges in which hosts of other fleets are than this one."""
    own = f"{HOSTS}{fleet}/"
    edges = ((HOSTS, own), (after_all(own), after_all(HOSTS)))
    return [_range(begin, end, _MOST) for begin, end in edges]


def reading_jobs(fleet: str) -> Message:
    """The range of the jobs of a fleet."""
    begin = f"{UP}{fleet}/jobs/"
    return {**_range(begin, after_all(begin), _MOST_JOBS)["request_range"], "keys_only": True}


def _range(begin: str, end: str, limit: int) -> Message:
    return {"request_range": {"key": coded(begin), "range_end": coded(end), "limit": str(limit)}}


def hosts_in(ranges: Iterable[Message]) -> dict[str, list[str]]:
    """By fleet, the hosts that were read."""
    found = dict[str, list[str]]()
    for key in (text(kv["key"]) for each in ranges for kv in each.get("response_range", {}).get("kvs", ())):
        fleet, _, host = key.removeprefix("/jq/@/").partition("/")
        found.setdefault(fleet, []).append(host)
    return found


def jobs_in(answer: Message, fleet: str) -> list[str]:
    """The jobs of a fleet that were read."""
    return [text(kv["key"]).removeprefix(f"/jq/{fleet}/jobs/") for kv in answer.get("kvs", ())]
