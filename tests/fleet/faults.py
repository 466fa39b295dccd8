"""Faults of a host, of its way to etcd, of its files, and of etcd: how each begins, and how it ends."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from jobqueued.child.fleet.etcd.gateway import EtcdUnreachable, Rejected
from jobqueued.child.fleet.etcd.wire import after_all, coded
from jobqueued.child.fleet.session import TTL
from tests.fleet import jobs
from tests.fleet.host import DistantHost, send
from tests.fleet.proxy import CALM, Trouble
from tests.support.etcd import Cluster, Member
from tests.support.host import kill, wait_for
from tests.support.places import Place

_OVER = TTL + 3
_FILLER = "/filler"
_PIECE = 1 << 20


class Fault(NamedTuple):
    """A state for so many seconds: what makes it (its answer is what ends it), by the chances of the day.

    `is_away`: nothing of the fleet can start on that host meanwhile.
    """

    begin: Callable[[random.Random], Callable[[], object]]
    seconds: tuple[float, ...]
    is_away: bool = False


def of_host(host: DistantHost) -> dict[str, Fault]:
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
        "the clock is ahead": (Trouble(ahead=3.5), (6,)),
        "the clock is behind": (Trouble(ahead=-3.5), (6,)),
    }
    return {
        "the scheduler is killed": Fault(lambda chance: _killed(host, chance, agent=False), (3,)),
        "the agent is killed": Fault(lambda _: _each_killed(host.agents()), (3,)),
        "scheduler and agent are killed": Fault(lambda chance: _killed(host, chance, agent=True), (3,)),
        "the scheduler is stopped": Fault(lambda _: _stopped([host.daemon.pid] if host.daemon else []), (4, _OVER)),
        "the agent is stopped": Fault(lambda _: _stopped(host.agents()), (4, _OVER)),
        "all is stopped": Fault(lambda _: _stopped(host.processes()), (4, _OVER), is_away=True),
        "the host is held": Fault(lambda _: _on_hold(host), (6,)),
        "a job is missing": Fault(lambda _: _otherwise(host, "c"), (6,)),
        "a schedule is another": Fault(lambda _: _otherwise(host, "j"), (6,)),
        "a job moves to the fleet": Fault(lambda _: _otherwise(host, "k"), (6,)),
        **{name: Fault(lambda _, it=trouble: _troubled(host, it), times) for name, (trouble, times) in network.items()},
        **({} if host.place is None else _of_place(host, host.place)),
    }


def _of_place(host: DistantHost, place: Place) -> dict[str, Fault]:
    """Faults of a host that is a place of its own."""
    return {
        "the power is off": Fault(lambda _: _without_power(host), (5, _OVER), is_away=True),
        "the host stands still": Fault(lambda _: _stopped(place.processes()), (4, _OVER), is_away=True),
        "the link is down": Fault(lambda _: _cut([place], 0), (3, 12, _OVER), is_away=True),
        "the link is slow": Fault(lambda _: _slow(place), (8,)),
    }


def of_etcd(etcd: Cluster, places: Sequence[Place]) -> dict[str, Fault]:
    """Faults of etcd, by their names; `places`: those of its members, if they have any."""
    place = dict(zip((member.name for member in etcd.members), places, strict=False))
    links = {
        "the link of the leader is down": Fault(
            lambda chance: _cut([place[_leader(etcd, chance).name]], 0, 1), (4, _OVER)
        ),
        "the leader has no peers": Fault(lambda chance: _cut([place[_leader(etcd, chance).name]], 1), (4, _OVER)),
        "a member has no leader": Fault(lambda chance: _cut([place[_follower(etcd, chance).name]], 1), (4, _OVER)),
        "no member has peers": Fault(lambda _: _cut(places, 1), (4,)),
    }
    return {
        "the leader of etcd is killed": Fault(lambda chance: _down([_leader(etcd, chance)]), (3,)),
        "two of three of etcd are killed": Fault(lambda chance: _down(chance.sample(etcd.members, 2)), (8,)),
        "the leader of etcd is stopped": Fault(lambda chance: _held([_leader(etcd, chance)]), (4, _OVER)),
        "two of three of etcd are stopped": Fault(lambda chance: _held(chance.sample(etcd.members, 2)), (4, _OVER)),
        "etcd forgets what was": Fault(lambda _: _compacted(etcd), (0.1,)),
        "etcd is defragmented": Fault(lambda _: _defragmented(etcd), (0.1,)),
        "etcd is full": Fault(lambda _: _full(etcd), (5,)),
        **(links if place else {}),
    }


def _nothing() -> None:
    """There is nothing to be ended."""


# hosts


def _killed(host: DistantHost, chance: random.Random, *, agent: bool) -> Callable[[], object]:
    if not host.daemon_ended():
        host.end(chance.choice((0, 0, 2.5)))
    return _each_killed(host.agents() if agent else [])


def _each_killed(pids: list[int]) -> Callable[[], object]:
    for pid in pids:
        kill(pid)
    return _nothing


def _stopped(pids: list[int]) -> Callable[[], object]:
    send(pids, signal.SIGSTOP)
    return lambda: send(pids, signal.SIGCONT)


def _without_power(host: DistantHost) -> Callable[[], object]:
    host.lose_power()
    return host.boot


def _on_hold(host: DistantHost) -> Callable[[], object]:
    """Hold a host that can be asked for it."""
    with suppress(OSError):
        host.call("Hold")
        return lambda: wait_for(lambda: "error" not in host.call("Release"), why=f"the release of {host.name}")
    return _nothing


def _otherwise(host: DistantHost, job: str) -> Callable[[], object]:
    """Have another definition of a job on one host."""
    host.write("fleet.yaml", jobs.file(host.book, enabled=True, otherwise={job: jobs.OTHERWISE[job]}))
    return lambda: host.write("fleet.yaml", jobs.file(host.book, enabled=True))


# the network


def _troubled(host: DistantHost, trouble: Trouble) -> Callable[[], object]:
    host.way.be(trouble)
    return lambda: host.way.be(CALM)


def _cut(places: Sequence[Place], *bridges: int) -> Callable[[], object]:
    for place in places:
        place.cut(*bridges)

    def mend() -> None:
        for place in places:
            place.mend()

    return mend


def _slow(place: Place) -> Callable[[], object]:
    place.slow("24kbit")
    return place.mend


# etcd


def _leader(etcd: Cluster, chance: random.Random) -> Member:
    return etcd.leader() or chance.choice(etcd.members)


def _follower(etcd: Cluster, chance: random.Random) -> Member:
    leader = _leader(etcd, chance)
    return chance.choice([member for member in etcd.members if member is not leader])


def _down(members: list[Member]) -> Callable[[], object]:
    for member in members:
        member.kill()

    def again() -> None:
        for member in members:
            member.start()

    return again


def _held(members: list[Member]) -> Callable[[], object]:
    for member in members:
        member.send(signal.SIGSTOP)

    def go_on() -> None:
        for member in members:
            member.send(signal.SIGCONT)

    return go_on


def _compacted(etcd: Cluster) -> Callable[[], object]:
    """Compact up to now, so that a watch that is behind can't go on."""
    with suppress(EtcdUnreachable, Rejected):
        member = etcd.members[0]
        revision = member.ask("kv/range", {"key": "AA=="})["header"]["revision"]
        member.ask("kv/compaction", {"revision": revision})
    return _nothing


def _defragmented(etcd: Cluster) -> Callable[[], object]:
    """Have each member give back what it does not need; it does nothing else meanwhile."""
    for member in etcd.members:
        with suppress(EtcdUnreachable, Rejected):
            member.ask("maintenance/defragment", {}, 10)
    return _nothing


def _full(etcd: Cluster) -> Callable[[], object]:
    """Fill etcd up to its quota, so that it takes no more keys."""
    member, number = etcd.members[0], 0
    with suppress(EtcdUnreachable, Rejected):
        while True:
            number += 1
            member.ask("kv/put", {"key": coded(f"{_FILLER}{number}"), "value": coded("x" * _PIECE)}, 5)
    return lambda: wait_for(lambda: _emptied(etcd), why="an etcd that has space")


def _emptied(etcd: Cluster) -> bool:
    """Tell whether the members have space again, and take keys."""
    with suppress(EtcdUnreachable, Rejected):
        etcd.members[0].ask("kv/deleterange", {"key": coded(_FILLER), "range_end": coded(after_all(_FILLER))}, 5)
        _compacted(etcd)
        _defragmented(etcd)
        for alarm in etcd.members[0].ask("maintenance/alarm", {"action": "GET"}).get("alarms", ()):
            etcd.members[0].ask("maintenance/alarm", {"action": "DEACTIVATE", **alarm})
        return not etcd.members[0].ask("maintenance/alarm", {"action": "GET"}).get("alarms")
    return False
