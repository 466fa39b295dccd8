"""Several faked worlds that are hosts of one fleet: an etcd in memory, networks that are slow, lossy and cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

from jobqueued import events
from jobqueued.commands import Ask, Command, GiveBack, Launch
from jobqueued.model import SECOND, Claim, Job, RunId, RunState
from jobqueued.queue.locks import of_fleet
from tests.support.world import MIDNIGHT, World

TTL = 10 * SECOND
NAME = "test"

Key = tuple[str, ...]
"""``("run", job, key)`` of an occurrence, ``("lock", resource)``."""


@dataclass(frozen=True)
class Value:
    """The value of a key: whose it is, for which run, and how that has ended."""

    store: str
    job: str
    key: str
    state: str = ""

    @property
    def holder(self) -> str:
        """The holder, as other hosts call it."""
        return f"{self.job}/{self.key} of {self.store}"


class Etcd:
    """Keys and values; each change has a revision, and goes to those who watch."""

    def __init__(self) -> None:
        self.revision = 0
        self.keys: dict[Key, Value] = {}
        self.watchers: list[Callable[[Key, Value | None, Value | None], None]] = []

    def put(self, key: Key, value: Value | None) -> None:
        """Set a key; None: delete it."""
        before = self.keys.get(key)
        if before == value:
            return
        if value is None:
            del self.keys[key]
        else:
            self.keys[key] = value
        for watcher in self.watchers:
            watcher(key, before, value)


@dataclass
class Rules:
    """The rules by which an agent claims; each can be broken on purpose."""

    own_value: bool = True
    """An occurrence that is there, and is this host's, is granted."""
    own_lock: bool = True
    """A lock that is there for this run is granted."""
    sweep: bool = True
    """What this host has by etcd is told after each connection."""
    at_once: bool = True
    """Keys are read and written in one transaction."""


class Agent:
    """What stands between a scheduler and etcd: it asks in order, again where an answer is lost, and tells news."""

    def __init__(self, fleet: Fleet, store: str, rules: Rules) -> None:
        self.fleet, self.store, self.rules = fleet, store, rules
        self.connection = 0
        """The number of the scheduler's connection; what was for an earlier one is dropped."""
        self.cut_since: int | None = None
        self.is_up = False
        self.requests: list[tuple[int, Ask | GiveBack]] = []
        self.is_busy = False
        self.told = 0
        self.claims: dict[str, dict[str, Claim]] = defaultdict(dict)
        fleet.etcd.watchers.append(self._changed)

    # the scheduler's side

    def connect(self) -> None:
        """A scheduler has begun: it is told all that there is, then that the fleet can be asked."""
        self.connection += 1
        self.requests = []
        self.is_up = False
        self._snapshot()

    def _snapshot(self) -> None:
        if self.cut_since is not None or self.is_up:
            return
        self.claims.clear()
        for key, value in sorted(self.fleet.etcd.keys.items()):
            if value.store != self.store:
                self._news(key, None, value)
            elif key[0] == "run" and value.state:
                self._tell(events.Taken(value.job, value.key))
            elif self.rules.sweep:
                self._tell(events.Ours(value.job, value.key))
        self.is_up = True
        self._tell(events.FleetUp(""))

    def request(self, job: str, command: Ask | GiveBack) -> None:
        """Take what the scheduler wants."""
        if self.is_up:
            self.requests.append((self.connection, command))
            self._go_on()

    def _tell(self, event: events.Event) -> None:
        """Tell the scheduler, after all that it was told before."""
        connection, host = self.connection, self.fleet.hosts[self.store]
        self.told = max(self.told, self.fleet.now) + self.fleet.random.randint(1, 3) * 100_000

        def deliver() -> None:
            if connection == self.connection and host.is_alive:
                host.happen(event)

        self.fleet.at(self.told, deliver)

    # the network

    def cut(self) -> None:
        """Let nothing through from now on; after `TTL` the session is over."""
        if self.cut_since is not None:
            return
        self.cut_since = since = self.fleet.now

        def expire() -> None:
            if self.cut_since == since and self.is_up:
                self.is_up = False
                self.requests = []
                self._tell(events.FleetUp("no member of etcd answers"))

        self.fleet.at(since + TTL, expire)

    def heal(self) -> None:
        """Let all through again."""
        self.cut_since = None
        if self.is_up:
            self._missed()
            self._go_on()
        else:
            self._snapshot()

    def _missed(self) -> None:
        """Tell what a watch has missed that was cut off for less than `TTL`: what there is, and is no more."""
        keys = self.fleet.etcd.keys
        for holder, claims in list(self.claims.items()):
            for resource in list(claims):
                value = keys.get(("lock", resource))
                if value is None or value.holder != holder:
                    del claims[resource]
                    self._tell(events.Held(holder, tuple(claims.values())))
        for key, value in sorted(keys.items()):
            if value.store != self.store:
                self._news(key, None, value)

    # etcd's side

    def _go_on(self) -> None:
        """Carry out the next request, some milliseconds later; a slow one holds up the others."""
        if self.is_busy or not self.requests or self.cut_since is not None:
            return
        self.is_busy = True
        random = self.fleet.random

        def arrive() -> None:
            self.is_busy = False
            if self.cut_since is not None or not self.requests:
                return
            connection, command = self.requests[0]
            is_lost = random.random() < self.fleet.lossy
            self._carry_out(connection, command, is_heard=not is_lost)
            if not is_lost:  # else once more
                self.requests.pop(0)
            self._go_on()

        self.fleet.at(self.fleet.now + random.randint(1, 9) * SECOND // 1000, arrive)

    def _carry_out(self, connection: int, command: Ask | GiveBack, *, is_heard: bool) -> None:
        """Do it, and tell the answer."""
        etcd = self.fleet.etcd
        if isinstance(command, GiveBack):
            etcd.revision += 1
            for key, value in list(etcd.keys.items()):
                if (value.store, value.job, value.key) != (self.store, command.job, command.key):
                    continue
                if key[0] == "lock":
                    etcd.put(key, None)
                elif command.state and not value.state:
                    etcd.put(key, Value(self.store, command.job, command.key, command.state))
            return
        answer = self._claim(command)
        if is_heard and connection == self.connection:
            self._tell(answer)

    def _claim(self, ask: Ask) -> events.Event:
        etcd, mine = self.fleet.etcd, Value(self.store, ask.run.job, ask.key)
        run: Key = ("run", ask.run.job, ask.key)
        locks: list[Key] = [("lock", claim.resource) for claim in ask.claims]
        wanted = [*([run] if ask.key.startswith("f") else []), *locks]
        there = etcd.keys.get(run)
        is_mine = there is not None and there == mine and self.rules.own_value
        if there is not None and not is_mine:
            return events.Taken(ask.run.job, ask.key)
        for lock in locks:
            known = etcd.keys.get(lock)
            if known is not None and not (known == mine and self.rules.own_lock):
                if known.store == self.store and known != mine and self.rules.sweep:
                    self._tell(events.Ours(known.job, known.key))
                return events.Denied(ask.run, ask.number)
        etcd.revision += 1
        fence = etcd.revision

        def write() -> None:
            for key in wanted:
                etcd.put(key, mine)

        if self.rules.at_once:
            write()
        else:
            self.fleet.at(self.fleet.now + self.fleet.random.randint(1, 9) * SECOND // 1000, write)
        return events.Granted(ask.run, ask.number, fence)

    def _changed(self, key: Key, before: Value | None, after: Value | None) -> None:
        if self.cut_since is None and self.is_up:
            self._news(key, before, after)

    def _news(self, key: Key, before: Value | None, after: Value | None) -> None:
        """Tell what others have, and have no more."""
        if key[0] == "run":
            if after is not None and after.store != self.store:
                self._tell(events.Taken(after.job, after.key))
            return
        for value, is_there in ((before, False), (after, True)):
            if value is None or value.store == self.store:
                continue
            claims = self.claims[value.holder]
            if is_there:
                claims[key[1]] = Claim(key[1], exclusive=True)
            else:
                claims.pop(key[1], None)
            self._tell(events.Held(value.holder, tuple(claims.values())))


class Host(World):
    """A host of a fleet.  `doom` (n, k): its scheduler dies in the n-th turn from now, after k acts."""

    def __init__(self, fleet: Fleet, store: str, *jobs: Job, rules: Rules, **options: Any) -> None:
        self.fleet, self.store = fleet, store
        self.is_alive = False
        self.doom: tuple[int, int] | None = None
        fleet.hosts[store] = self
        self.agent = Agent(fleet, store, rules)
        super().__init__(*jobs, fleet=NAME, name=store, **options)

    def boot(self) -> None:
        """Start a scheduler, which is told of the fleet."""
        self.is_alive, self.doom = True, None
        super().boot()
        self.agent.connect()

    def happen(self, *happened: events.Event, admit: bool = True, die_after: int | None = None) -> None:
        """One turn, maybe its last."""
        if not self.is_alive:
            return
        if self.doom is not None and die_after is None:
            turns, acts = self.doom
            self.doom = None if turns <= 0 else (turns - 1, acts)
            if turns <= 0:
                die_after = acts
        super().happen(*happened, admit=admit, die_after=die_after)
        if die_after is not None:
            self.is_alive = False

    def has_skipped(self, job: str, due: int) -> bool:
        """Whether a skip of this host covers a due time."""
        skips = (run for run, _ in self.rows.values() if run.id.job == job and run.state is RunState.SKIPPED)
        return any(run.due <= due <= (run.last_due or run.due) for run in skips)

    def _act(self, command: Command) -> None:
        if isinstance(command, Ask | GiveBack):
            if isinstance(command, Ask):
                assert command.run in self.rows, "asked before its run was committed"
            self.agent.request(self.store, command)
        super()._act(command)

    def _launch(self, command: Launch) -> None:
        before = len(self.launched)
        super()._launch(command)
        if len(self.launched) > before:
            self.fleet.begun(self, command)


@dataclass
class Fleet:
    """Hosts with the same jobs; `lossy`: how many of etcd's answers are lost."""

    random: Random
    etcd: Etcd = field(default_factory=Etcd)
    hosts: dict[str, Host] = field(default_factory=dict)
    lossy: float = 0.0
    now: int = MIDNIGHT
    started: dict[tuple[str, str], tuple[str, RunId]] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    _messages: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _number: int = 0

    def add(self, store: str, *jobs: Job, rules: Rules | None = None, **options: Any) -> Host:
        """One more host."""
        return Host(self, store, *jobs, rules=rules or Rules(), start=self.now, **options)

    def at(self, instant: int, what: Callable[[], None]) -> None:
        """Do something at an instant."""
        self._number += 1
        heappush(self._messages, (max(instant, self.now), self._number, what))

    def pass_time(self, seconds: float) -> None:
        """Let time pass on all hosts, jumping from one thing to the next."""
        until, left = self.now + round(seconds * SECOND), 1000 + round(seconds)
        while True:
            left -= 1
            assert left, "somebody asks over and over again"
            soonest = min((until, *(t for host in self.hosts.values() if (t := self._next(host)) is not None)))
            if self._messages:
                soonest = min(soonest, self._messages[0][0])
            step = max(0, soonest - self.now)
            self.now += step
            for host in self.hosts.values():
                host.pass_time(step / SECOND, scheduler=host.is_alive)
            while self._messages and self._messages[0][0] <= self.now:
                heappop(self._messages)[2]()
            if self.now >= until:
                return

    def _next(self, host: Host) -> int | None:
        """When something happens on a host by itself, by the fleet's clock."""
        wake = host.scheduler.next_wakeup(host.now) if host.is_alive else None
        end = min(host.processes.values(), default=None)
        times = [time for time in (wake, end) if time is not None]
        return self.now + max(0, min(times) - host.now.wall) if times else None

    def begun(self, host: Host, launch: Launch) -> None:
        """A process has begun: its occurrence is nobody else's, and so are the locks that it holds in the fleet."""
        run, key = launch.run, launch.run.key
        if key.startswith("f"):
            known = self.started.setdefault((run.id.job, key), (host.store, run.id))
            assert known == (host.store, run.id), f"{run.id.job}/{key} runs on {host.store} and on {known}"
        for claim in of_fleet(run.claims):
            assert launch.fence > self.fences.get(claim.resource, 0), f"the fence of {claim.resource} does not rise"
            self.fences[claim.resource] = launch.fence
        holders: dict[str, list[str]] = defaultdict(list)
        for other in self.hosts.values():
            for name in other.processes:
                for claim in of_fleet(other.holding[name][0]):
                    holders[claim.resource].append(f"{name} on {other.store}")
        for resource, names in holders.items():
            assert len(names) == 1, f"{resource} is held by {names}"

    def missing(self, job: Job, since: int, until: int) -> list[int]:
        """The due times of a job that no host has run, and whose host, or every host where it is nobody's, has not
        skipped.
        """
        dues, due = list[int](), job.next_after(since)
        while due is not None and due <= until:
            key = f"f{due // SECOND}"
            owner = self.etcd.keys.get(("run", job.id, key))
            asked = self.hosts.values() if owner is None else [self.hosts[owner.store]]
            if (job.id, key) not in self.started and not all(host.has_skipped(job.id, due) for host in asked):
                dues.append(due)
            due = job.next_after(due)
        return dues
