"""Faults of a host, of its way to etcd, and of etcd: how each begins, and how it ends."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from jobqueued.child.fleet.gateway import Rejected, Unreachable
from jobqueued.child.fleet.session import TTL
from tests.fleet.host import FleetHost, send
from tests.fleet.proxy import CALM, Trouble
from tests.support.etcd import Cluster, Member
from tests.support.host import kill

_OVER = TTL + 3


class Fault(NamedTuple):
    """A state for so many seconds: what makes it (its answer is what ends it), by the chances of the day."""

    begin: Callable[[random.Random], Callable[[], None]]
    seconds: tuple[float, ...]


def of_host(host: FleetHost) -> dict[str, Fault]:
    """Faults of a host, by their names."""
    network = {
        "etcd is cut off": (Trouble(silent=True), (3, 12, _OVER)),
        "connections to etcd end": (Trouble(refused=True), (0.2, 3, 12)),
        "answers are late": (Trouble(delay=0.7), (6,)),
        "answers are lost": (Trouble(lost=0.2), (8,)),
        "answers are cut short": (Trouble(short=0.2), (8,)),
        "answers never come": (Trouble(hung=0.1), (12,)),
        "answers are refusals": (Trouble(wrong=0.2), (8,)),
        "requests come twice": (Trouble(twice=0.5), (8,)),
    }
    return {
        "the scheduler is killed": Fault(lambda chance: _killed(host, chance, agent=False), (3,)),
        "the agent is killed": Fault(lambda _: _each_killed(host.agents()), (3,)),
        "scheduler and agent are killed": Fault(lambda chance: _killed(host, chance, agent=True), (3,)),
        "the scheduler is stopped": Fault(lambda _: _stopped([host.daemon.pid] if host.daemon else []), (4, _OVER)),
        "the agent is stopped": Fault(lambda _: _stopped(host.agents()), (4, _OVER)),
        "all is stopped": Fault(lambda _: _stopped(host.processes()), (4, _OVER)),
        **{name: Fault(lambda _, it=trouble: _troubled(host, it), times) for name, (trouble, times) in network.items()},
    }


def of_etcd(etcd: Cluster) -> dict[str, Fault]:
    """Faults of etcd, by their names."""
    return {
        "the leader of etcd is killed": Fault(lambda chance: _down([_leader(etcd, chance)]), (3,)),
        "two of three of etcd are killed": Fault(lambda chance: _down(chance.sample(etcd.members, 2)), (8,)),
        "the leader of etcd is stopped": Fault(lambda chance: _held([_leader(etcd, chance)]), (4, _OVER)),
        "two of three of etcd are stopped": Fault(lambda chance: _held(chance.sample(etcd.members, 2)), (4, _OVER)),
        "etcd forgets what was": Fault(lambda _: _compacted(etcd), (0.1,)),
        "etcd has no space": Fault(lambda _: _full(etcd), (5,)),
    }


def _nothing() -> None:
    """There is nothing to be ended."""


def _killed(host: FleetHost, chance: random.Random, *, agent: bool) -> Callable[[], None]:
    if not host.daemon_ended():
        host.end(chance.choice((0, 0, 2.5)))
    return _each_killed(host.agents() if agent else [])


def _each_killed(pids: list[int]) -> Callable[[], None]:
    for pid in pids:
        kill(pid)
    return _nothing


def _stopped(pids: list[int]) -> Callable[[], None]:
    send(pids, signal.SIGSTOP)
    return lambda: send(pids, signal.SIGCONT)


def _troubled(host: FleetHost, trouble: Trouble) -> Callable[[], None]:
    host.way.be(trouble)
    return lambda: host.way.be(CALM)


def _leader(etcd: Cluster, chance: random.Random) -> Member:
    return etcd.leader() or chance.choice(etcd.members)


def _down(members: list[Member]) -> Callable[[], None]:
    for member in members:
        member.kill()

    def again() -> None:
        for member in members:
            member.start()

    return again


def _held(members: list[Member]) -> Callable[[], None]:
    for member in members:
        member.send(signal.SIGSTOP)

    def go_on() -> None:
        for member in members:
            member.send(signal.SIGCONT)

    return go_on


def _compacted(etcd: Cluster) -> Callable[[], None]:
    """Compact up to now, so that a watch that is behind can't go on."""
    with suppress(Unreachable, Rejected):
        member = etcd.members[0]
        revision = member.ask("kv/range", {"key": "AA=="})["header"]["revision"]
        member.ask("kv/compaction", {"revision": revision})
    return _nothing


def _full(etcd: Cluster) -> Callable[[], None]:
    """Raise the alarm by which etcd takes no more keys, and clear it."""

    def alarm(action: str) -> None:
        for member in etcd.members:
            with suppress(Unreachable, Rejected):
                status = member.ask("maintenance/status", {})
                words = {"action": action, "memberID": status["header"]["member_id"], "alarm": "NOSPACE"}
                member.ask("maintenance/alarm", words)

    alarm("ACTIVATE")
    return lambda: alarm("DEACTIVATE")
