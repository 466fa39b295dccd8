"""A large fleet on paper: python -m bench.scale --hosts 10,100,1000 --jobs 1000 --burst

Agents as they are (their conversations, and the order of hosts), in one process and on a clock of its own, beside an
etcd in memory that takes for each call what a real one has taken (`python -m bench etcd`).  Each job is due once a
minute, evenly over it, or all at once (`--burst`); its run lasts 10 s.  Nothing is lost, and no host is busy.

What a member tells hosts takes turns with what it is asked: the more of its streams have something to bring, the longer
a question takes; the more there is to be told, the later news come.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

from jobqueued.child.fleet.claims import ROOT, Session, kept
from jobqueued.child.fleet.conversation import Conversation
from jobqueued.child.fleet.etcd.host_order import HostOrder
from jobqueued.child.fleet.etcd.wire import Message, text
from jobqueued.child.fleet.known_locks import LockUnits
from tests.support.fake_etcd import FakeEtcd

SECOND = 10**9
_BEGIN = 1_772_409_660
"""The first due second."""
_MEMBERS, _LEASES, _KEEP = 3, {"run": 1, "lock": 2, "session": 3}, 3600
_LASTS, _WAY, _BEAT = 10 * SECOND, SECOND // 2000, 10 / 3 / 2
"""How long a run lasts, and the way from a host to etcd (ns); seconds from beat to beat of one of its two leases."""


class Costs(NamedTuple):
    """The CPU time (µs) of the member that is asked, and of each other one, for a question and for each part of it; for
    a lease that is kept alive, to begin to tell a host something, and for each event; that of a host's agent for it.
    """

    request: float
    part: float
    request_of_others: float
    part_of_others: float
    beat: float
    told: float
    event: float
    agent: float


COSTS = Costs(650, 50, 270, 15, 600, 20, 5.4, 14)
"""As found on two shared cores (AMD EPYC), with etcd 3.5.16."""


@dataclass
class Member:
    """A member of etcd with so many `cores`, and its hosts, each with a stream; work is in ns of a core."""

    cores: int
    hosts: list[Host] = field(default_factory=list)
    told_until: int = 0
    """When all that is to be told is."""
    asked: int = 0
    """The questions that it has at work."""
    used: int = 0
    longest: int = 0
    """The longest time that news have taken."""

    def answer(self, now: int, work: int) -> int:
        """The instant at which a question is answered."""
        self.used += work
        busy = 1 + self.asked + (len(self.hosts) if self.told_until > now else 0)
        return now + work * max(self.cores, busy) // self.cores

    def tell(self, now: int, told: int, event: int) -> int:
        """The instant at which its hosts have some news: so much work (ns) to begin with, and for the events."""
        work = event if self.told_until > now else told + event
        self.used += work
        self.told_until = max(now, self.told_until) + work // self.cores
        self.longest = max(self.longest, self.told_until - now)
        return self.told_until


@dataclass
class Host:
    """A host: its agent, and what its scheduler has asked, and heard."""

    name: str
    member: Member
    agent: Conversation = field(default_factory=lambda: Conversation(50 * SECOND))
    asked: set[tuple[str, int]] = field(default_factory=set)
    taken: set[tuple[str, int]] = field(default_factory=set)
    is_busy: bool = False


class Fleet:
    """So many hosts and jobs.

    `candidates`: how many hosts see to a job, and hear of it; 0: all.  `latest`: after so long (ns) a host leaves
    nothing to others.
    """

    def __init__(self, hosts: int, jobs: int, costs: Costs, cores: int, candidates: int, latest: int) -> None:
        self.now, self._costs, self._etcd, self._latest = 0, costs, FakeEtcd(), latest
        self.members = [Member(cores) for _ in range(_MEMBERS)]
        self._steps, self._number = list[tuple[int, int, Callable[[], object]]](), 0
        hosts_by_name = self._joined([f"host{number}" for number in range(hosts)])
        self.jobs = {f"job{number:05}": [*hosts_by_name.values()] for number in range(jobs)}
        self._order, self._orders = HostOrder(hosts_by_name), dict[str, HostOrder]()
        if candidates:
            for job in self.jobs:
                first = sorted(hosts_by_name, key=lambda name: self._order.wait(name, job))[:candidates]
                self.jobs[job], self._orders[job] = [hosts_by_name[name] for name in first], HostOrder(first)
        self.lates, self.granted = list[int](), defaultdict[tuple[str, int], int](int)
        self.told = self.in_vain = 0

    def _joined(self, names: list[str]) -> dict[str, Host]:
        revisions = {name: self._etcd.put(f"{ROOT}hosts/{name}", f"{name}:id") for name in names}
        found = {key: kept(kv) for key, kv in self._etcd.kvs.items()}
        hosts = dict[str, Host]()
        for number, name in enumerate(names):
            member = self.members[number % _MEMBERS]
            host = hosts[name] = Host(name, member)
            member.hosts.append(host)
            era = host.agent.begin(Session(f"{name}:id", name, revisions[name]))
            host.agent.read(era, self._etcd.revision, found)
            host.agent.complete(era)
            host.agent.outbox.clear()
        return hosts

    def at(self, instant: int, step: Callable[[], object]) -> None:
        """Do something at an instant."""
        self._number += 1
        heappush(self._steps, (instant, self._number, step))

    def live(self, minutes: int, *, burst: bool) -> None:
        """Let each job come due once a minute, and all runs end."""
        for minute in range(minutes):
            for number, job in enumerate(self.jobs):
                second = 60 * minute + (0 if burst else number * 60 // len(self.jobs))
                self.at(second * SECOND, partial(self._come_due, job, second))
        while self._steps:
            self.now, _, step = heappop(self._steps)
            step()

    def _come_due(self, job: str, second: int) -> None:
        order, turns = self._orders.get(job, self._order), defaultdict[int, list[Host]](list)
        for host in self.jobs[job]:
            turns[min(order.wait(host.name, f"{job} f{_BEGIN + second}"), self._latest)].append(host)
        for wait, hosts in turns.items():
            self.at(self.now + wait, partial(self._ask, hosts, job, second))

    def _ask(self, hosts: Iterable[Host], job: str, second: int) -> None:
        for host in hosts:
            if (job, second) not in host.taken:
                host.asked.add((job, second))
                part = LockUnits(f"job/{job}", 1, 1)
                host.agent.ask(self.now, job, second, 1, f"f{_BEGIN + second}", [part], _KEEP, "")
                self._go_on(host)

    def _go_on(self, host: Host) -> None:
        """Send what a host asks, unless it waits for an answer, and take what it was told."""
        for line in host.agent.outbox:
            if line[0] == "granted":
                self._granted(host, line[1], line[2])
            elif line[0] == "taken":
                name = line[1], int(line[2][1:]) - _BEGIN
                self.in_vain += name in host.asked
                host.asked.discard(name)
                host.taken.add(name)
        host.agent.outbox.clear()
        batch = None if host.is_busy else host.agent.next_batch(_LEASES, _KEEP)
        if batch is None:
            return
        host.is_busy, host.member.asked = True, host.member.asked + 1
        parts, costs = len(batch.message["success"]), self._costs
        for member in self.members:
            if member is not host.member:
                member.used += round((costs.request_of_others + costs.part_of_others * parts) * 1000)
        answered = host.member.answer(self.now + _WAY, round((costs.request + costs.part * parts) * 1000))

        def answer() -> None:
            before, host.is_busy, host.member.asked = self._etcd.revision, False, host.member.asked - 1
            host.agent.answered(batch, self._etcd.txn(batch.message))
            if self._etcd.revision > before:
                self._tell(*self._etcd.changes.pop())
            self._go_on(host)

        self.at(answered + _WAY, answer)

    def _granted(self, host: Host, job: str, second: int) -> None:
        self.granted[job, second] += 1
        host.asked.discard((job, second))
        host.taken.add((job, second))
        self.lates.append(self.now - second * SECOND)

        def end() -> None:
            host.agent.give_back(self.now, job, f"f{_BEGIN + second}", "succeeded")
            self._go_on(host)

        self.at(self.now + _LASTS, end)

    def _tell(self, revision: int, events: list[Message]) -> None:
        """Have all hosts told that see to the jobs of events; of a host's last write nobody is."""
        events = [event for event in events if not text(event["kv"]["key"]).startswith(f"{ROOT}writes/")]
        hears = dict[int, list[Message]]()
        if self._orders:
            for event in events:
                for host in self.jobs[_job_of(event)]:
                    hears.setdefault(id(host), []).append(event)
        for member in self.members:
            told = [(host, hears.get(id(host), []) if self._orders else events) for host in member.hosts]
            told = [each for each in told if each[1]]
            count = sum(len(each) for _, each in told)
            self.told += count
            work = round(self._costs.told * len(told) * 1000), round(self._costs.event * count * 1000)
            self.at(member.tell(self.now, *work) + _WAY, partial(self._hear, told, revision))

    def _hear(self, told: list[tuple[Host, list[Message]]], revision: int) -> None:
        for host, events in told:
            host.agent.watched(events, revision, self.now)
            self._go_on(host)


def _job_of(event: Message) -> str:
    """The job of an occurrence, or of the place that a run has for its job."""
    parts = text(event["kv"]["key"]).split("/")
    return parts[4] if parts[2] == "locks" else parts[3]


class Row(NamedTuple):
    """What became of a fleet; times in s, `busiest` in cores that a member takes of those it has, agents' CPU in s."""

    hosts: int
    jobs: int
    runs: int
    doubled: int
    median: float
    late: float
    last: float
    in_vain: int
    told: int
    news: float
    busiest: float
    agent: float


def row(fleet: Fleet, minutes: int, costs: Costs) -> Row:
    """The figures of a fleet that has lived for so many minutes."""
    lates = sorted(late / SECOND for late in fleet.lates)
    hosts = sum(len(member.hosts) for member in fleet.members)
    beats = max(len(member.hosts) for member in fleet.members) / _BEAT * costs.beat / 1e6
    return Row(
        hosts, len(fleet.jobs), len(fleet.granted), sum(count - 1 for count in fleet.granted.values()),
        statistics.median(lates), lates[len(lates) * 99 // 100], lates[-1], fleet.in_vain, fleet.told,
        max(member.longest for member in fleet.members) / SECOND,
        max(member.used for member in fleet.members) / SECOND / (60 * minutes) + beats,
        fleet.told / hosts * costs.agent / 1e6,
    )  # fmt: skip


_HEAD = (
    "hosts", "runs a minute", "twice", "start after: median", "99 %", "last", "asked in vain, a run", "told",
    "news after, at most", "of a member's cores", "CPU of an agent",
)  # fmt: skip


def cells(found: Row, minutes: int) -> list[str]:
    """A row of the table."""
    return [
        f"{found.hosts:,}", f"{found.runs // minutes:,}", str(found.doubled), f"{found.median * 1000:.0f} ms",
        f"{found.late:.2f} s", f"{found.last:.2f} s", f"{found.in_vain / found.runs:.2f}",
        f"{found.told / minutes / 1e6:.2f} million a minute", f"{found.news:.2f} s", f"{found.busiest:.2f}",
        f"{found.agent / minutes * 1000:.0f} ms a minute",
    ]  # fmt: skip


def main() -> int:
    """Let fleets live, and print what became of them."""
    options = _options()
    costs = COSTS if options.costs is None else _costs(json.loads(options.costs.read_text())["etcd"])
    print("| " + " | ".join(_HEAD) + " |\n|" + "---|" * len(_HEAD))
    for hosts in options.hosts:
        latest = round(options.latest * SECOND)
        fleet = Fleet(hosts, options.jobs, costs, options.cores, options.candidates, latest)
        fleet.live(options.minutes, burst=options.burst)
        print("| " + " | ".join(cells(row(fleet, options.minutes, costs), options.minutes)) + " |", flush=True)
    return 0


def _costs(found: dict[str, float]) -> Costs:
    return Costs(*(found[name] for name in Costs._fields))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="Reckon what a large fleet comes to.")
    parser.add_argument("--hosts", type=_numbers, default=[10, 100, 1000], help="each number in turn  [10,100,1000]")
    parser.add_argument("--jobs", type=_number, default=1000, help="each due once a minute  [1000]")
    parser.add_argument("--burst", action="store_true", help="all of them in the same second")
    parser.add_argument("--minutes", type=_number, default=1, help="how long  [1]")
    parser.add_argument("--cores", type=_number, default=2, help="of each of three members of etcd  [2]")
    parser.add_argument("--candidates", type=int, default=0, help="so many hosts see to a job; 0: all  [0]")
    parser.add_argument("--latest", type=float, default=60, help="so long a host leaves a run to others (s)  [60]")
    parser.add_argument("--costs", type=Path, metavar="FILE", help="what `python -m bench etcd --json FILE` has found")
    return parser.parse_args()


def _numbers(words: str) -> list[int]:
    return [_number(word) for word in words.split(",")]


def _number(word: str) -> int:
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError(f"{word}: at least 1 is needed")
    return number


if __name__ == "__main__":
    sys.exit(main())
