"""Several faked worlds that are hosts of one fleet: an etcd in memory, networks that are slow, lossy and cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.reasons import REMOVALS, Code
from jobqueued.child.fleet import claims, mark, writes
from jobqueued.child.fleet.claims import NOTHING, ROOT, Session, StoredKey, kept
from jobqueued.child.fleet.conversation import Conversation
from jobqueued.child.fleet.etcd.wire import Message, coded, text
from jobqueued.child.fleet.known_locks import LockUnits
from jobqueued.child.fleet.lines import RETURNED
from jobqueued.child.fleet.mark import EtcdMark
from jobqueued.child.fleet.requests import (
    AnnounceRequest,
    Overdue,
    PauseRequest,
    PlaceRequest,
    PublishRequest,
    RequestBatch,
)
from jobqueued.child.fleet.skips import SkipRequest
from jobqueued.core.hosts.claimed_by_others import span_of
from jobqueued.core.hosts.fleet_state import hosts_before, is_of_fleet, second_of
from jobqueued.model import events
from jobqueued.model.commands import Ask, Command, EndedElsewhere, FleetCommand, Launch, Reply, Save, SaveFleetMark, Say
from jobqueued.model.fleet import FleetMark, FleetReachability
from jobqueued.model.job import Job
from jobqueued.model.run import LockClientId, Run, RunId
from jobqueued.model.run_states import PENDING, RunState
from jobqueued.queue.locks import FLEET, Locks, of_fleet, places_of
from jobqueued.runs.fleet_link import event_of, line_of
from tests.support.fake_etcd import FakeEtcd
from tests.support.fleet_pauses import Pauses
from tests.support.world import MIDNIGHT, World

TTL = 10 * SECOND
LONGEST_WAIT = 50 * SECOND
"""How long what a host has begun stays its own without a session: `lock_grace`, as it is by default, but for `TTL`."""
LEASES = {"lock": 2, "session": 3}
LEAST_KEEP, LEAST_MORE = 3600, 3600
"""Seconds for which an occurrence is remembered at least, whatever its job says, and beside what that says."""
NAME = "test"
LATEST = 2000
_PUT_OFF, _COPIED, _LATER = 0.03, 0.3, (0, 0.003, 0.05, 0.5, 5, 15, 100, LATEST)
"""The chances that something is carried out late, and late once more, and how much later (s)."""
_STEPS_A_START = 40
"""Maximum steps of time for each run that starts; a host that was away for hours starts many runs."""
_LAGS = (*[0] * 20, 0.1, 1, 8)
"""How much later (s) than an answer a watch may tell of a change."""

Started = dict[tuple[str, str], tuple[str, RunId]]
"""Job and key of each occurrence that has started → its host and run."""
Key = tuple[str, ...]
"""``("run", job, key)`` of an occurrence, ``("lock", resource)``."""


@dataclass(frozen=True)
class Value:
    """The value of a key: whose it is, for which run, and how that has ended."""

    store: str
    job: str
    key: str
    state: str = ""


class Etcd(FakeEtcd):
    """An etcd, and what its keys mean."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[int, dict[Key, Value]] = -1, {}
        self.lapsed_skips = dict[Key, Value]()
        """The skips that were remembered for as long as they are, by the occurrence."""

    def lapse(self, *leases: int) -> None:
        """End leases, with all keys that live by them."""
        before = self.keys
        super().lapse(*leases)
        over = before.keys() - self.keys.keys()
        self.lapsed_skips |= {key: before[key] for key in over if before[key].state.startswith("skipped ")}

    @property
    def keys(self) -> dict[Key, Value]:
        """All occurrences and locks."""
        if self._keys[0] != self.revision:
            self._keys = self.revision, self._read_keys()
        return self._keys[1]

    def _read_keys(self) -> dict[Key, Value]:
        found = dict[Key, Value]()
        for key, value in self.values(f"{ROOT}runs/").items():
            name = claims.name_of(key)
            assert name is not None, key
            store, _, state = value.partition(" ")
            found["run", *name] = Value(store, *name, state)
        for key, value in self.values(f"{ROOT}locks/").items():
            found["lock", f"{FLEET}{key.removeprefix(f'{ROOT}locks/')}"] = Value(*value.split(" "))
        return found


class Lease(NamedTuple):
    """A lease of occurrences, each of which is to be remembered for `keep` s; none is given it after `until`."""

    number: int
    keep: int
    until: int


@dataclass
class Rules:
    """The rules by which an agent claims; each can be broken on purpose."""

    own_value: bool = True
    """An occurrence that is there, and is this host's, is granted."""
    own_lock: bool = True
    """A lock that is there for this run is granted."""
    sweep: bool = True
    """What this host has by etcd is told after each connection."""
    in_turn: bool = True
    """Hosts stand in line for locks."""
    at_once: bool = True
    """Keys are read and written in one transaction."""
    once: bool = True
    """Each transaction goes by the one before it."""
    whole: bool = True
    """What was granted and has not started is nobody's again."""
    mark: bool = True
    """Nothing is asked of an etcd that has not come as far as is known."""
    age: bool = True
    """Whoever finds that etcd was put back lets those know it who can't."""


class Agent:
    """A conversation over a network that is slow, loses answers, and is cut; what it is told takes some time."""

    def __init__(self, fleet: Fleet, store: str, rules: Rules) -> None:
        self.fleet, self.store, self.rules = fleet, store, rules
        self.conversation = Conversation(LONGEST_WAIT)
        self.since = dict[str, int]()
        self.swept: Conversation | None = None
        """That which has looked through all occurrences."""
        self.connection = 0
        """The number of the scheduler's connection; what was for an earlier one is dropped."""
        self.watch = 0
        """The number of the watch; what an earlier one has on its way is dropped."""
        self.cut_since: int | None = None
        self.session: Session | None = None
        self.is_busy = self.is_late = False
        """Whether an answer is waited for, and whether the last one was."""
        self.delay = 0
        """How much longer (ns) its way to etcd is than that of others."""
        self.told = self.watched = 0
        self.mark, self.known, self.there = EtcdMark(), 0, 0
        """The mark, when the host saved the one that it remembered as it began, and when that was in the fleet last."""
        self.looked = self.told_mark = self.closed_until = 0
        """When it looked for the mark of the fleet last, and told one; until when it pauses as that was put back."""
        self.lease = Lease(0, 0, 0)
        fleet.etcd.watchers.append(self._changed)

    # the scheduler's side

    def connect(self) -> None:
        """A scheduler has begun: it is told all that there is, then that the fleet can be asked."""
        self.connection += 1
        host = self.fleet.hosts[self.store]
        self.since, known = host.scheduler.askable(), EtcdMark(host.mark.age, host.mark.number)
        self.known = max(host.mark.at, self.there - 60 * SECOND) if known.age else 0  # it is told a mark each minute
        self.mark = self.mark if known.age and known.is_in(self.mark) else known
        self.conversation.hello()
        self._go_on()

    def request(self, command: FleetCommand) -> None:
        """Take what the scheduler wants."""
        match line_of(command):
            case ["ask", *asked]:
                self.conversation.ask(self.fleet.now, *asked[:4], [LockUnits(*part) for part in asked[4]], *asked[5:])
            case ["skip", *skip]:
                self.conversation.skip(SkipRequest(*skip))
            case ["give_back", job, key, state]:
                is_kept = state == RETURNED and not self.rules.whole
                self.conversation.give_back(self.fleet.now, job, key, "" if is_kept else state)
            case ["pause", *paused]:
                self.conversation.want(PauseRequest(*paused))
            case ["overdue", *overdue]:
                self.conversation.want(Overdue(*overdue))
            case ["join" | "leave" as way, lock]:
                self.conversation.want(PlaceRequest(lock, way == "join" and self.rules.in_turn))
            case ["announce", labels, is_held]:
                self.conversation.want(AnnounceRequest(tuple(labels), is_held))
            case ["accept"]:
                self.mark, self.told_mark, self.closed_until = EtcdMark(), 0, 0
                self.conversation.is_outdated = True
            case ["publish", *published]:
                self.conversation.want(PublishRequest(*published))
        self._tell()
        self._go_on()

    def _tell(self) -> None:
        """Tell the scheduler, after all that it was told before; and again once the turn of others is over."""
        self.conversation.pass_time(self.fleet.now)
        if (deadline := self.conversation.deadline) is not None:
            self.fleet.at(deadline, self._pass)
        lines, self.conversation.outbox = self.conversation.outbox, []
        for line in lines:
            if line[0] == "ours" and not self.rules.sweep:
                continue
            self.told = max(self.told, self.fleet.now) + self.fleet.random.randint(1, 3) * 100_000

            self.fleet.at(self.told, partial(self._deliver, self.connection, event_of(line)))

    def _pass(self) -> None:
        self._tell()
        self._go_on()

    def _deliver(self, connection: int, event: events.Event) -> None:
        host = self.fleet.hosts[self.store]
        if connection == self.connection and host.is_alive:
            if isinstance(event, FleetMark):
                event = event._replace(at=self.known)
            if isinstance(event, FleetReachability):
                event = event._replace(known=self.known)
                self.since = host.scheduler.askable() if event.reason else self.since
            host.happen(event)

    # the network

    def note_there(self) -> None:
        """Record that the host is in the fleet now, if its scheduler is alive and knows that the fleet is reachable."""
        host = self.fleet.hosts[self.store]
        if host.is_alive and not host.scheduler.fleet.down and self.session is not None:
            self.there = self.fleet.now

    def cut(self) -> None:
        """Let nothing through from now on; after `TTL` the session is over."""
        if self.cut_since is not None:
            return
        self.cut_since = since = self.fleet.now
        self.note_there()
        self.watch += 1
        conversation = self.conversation

        def expire() -> None:
            if self.cut_since == since and self.session is not None:
                for key in (self.session.key, *self.fleet.etcd.values(f"{ROOT}wait/{self.store}/")):
                    self.fleet.etcd.put(key, None)
                self.fleet.etcd.put(self.session.writes, None)
                self.session = None
                conversation.suspend("no member of etcd answers")
                self._tell()

        self.fleet.at(since + TTL, expire)

    def die(self) -> None:
        """End, with all that it knew: its session goes on for a while, and who had asked hears that it is gone."""
        self.cut()
        self.conversation = Conversation(LONGEST_WAIT)
        self.connection += 1
        self.fleet.hosts[self.store].happen(FleetReachability("its agent exited"))

    def start(self) -> None:
        """Begin anew, and be called."""
        self.heal()
        self.connect()

    def put_back(self, *, at_once: bool) -> None:
        """Find etcd put back once it is there again."""
        self.watch += 1
        self.looked = 0
        self.fleet.at(self.fleet.now + self.fleet.random.randint(0, TTL), self._look)
        if not at_once or self.session is None:  # nobody keeps it alive that there is again
            for key in (f"{ROOT}hosts/{self.store}", f"{ROOT}writes/{self.store}"):
                self.fleet.etcd.put(key, None)
        if not at_once:
            self.session = None
            self.conversation.suspend("no member of etcd answers")
            self._tell()
        self._go_on()

    def heal(self) -> None:
        """Let all through again."""
        self.cut_since = None
        self.watch += 1
        self._changed()
        self._go_on()

    # etcd's side

    def _go_on(self) -> None:
        """Read all that there is, or carry out the next requests, some milliseconds later."""
        if self.is_busy or self.cut_since is not None:
            return
        begins = bool(self.conversation.reason or self.conversation.is_outdated)
        batch = None if begins else self._next_batch()
        if (batch is None and not begins) or self.fleet.now < self.closed_until:
            return
        self.is_busy = True

        def arrive() -> None:
            self.is_busy = False
            if self.cut_since is None:
                self.read_all() if batch is None else self._carry_out(batch)
            self._go_on()

        self.fleet.at(self.fleet.now + self._while(), arrive)

    def _next_batch(self) -> RequestBatch | None:
        """The next requests; occurrences live by a lease as that of child/fleet/session.RunLease."""
        keep = max(self.conversation.keep, LEAST_KEEP)
        if self.conversation.occurrences and (keep > self.lease.keep or self.fleet.now >= self.lease.until):
            self.lease = self.fleet.lease(keep)
        return self.conversation.next_batch({**LEASES, "run": self.lease.number}, keep)

    def _while(self) -> int:
        longest_wait = SECOND // 10 if self.is_late else 0
        return self.delay + longest_wait + self.fleet.random.randint(1, 9) * SECOND // 1000

    def _opened(self) -> StoredKey | None:
        """Open the session, or go on with it: its last write (child/fleet/session.py); None if another has the name."""
        etcd, lease = self.fleet.etcd, LEASES["session"]
        if self.session is None:
            answer = etcd.txn(writes.opening(Session(self.store, self.store, 0), self.store, lease))
            if not answer.get("succeeded"):
                return None
            revision = claims.revision(answer)
            self.session = Session(self.store, self.store, revision, written=revision)
            return NOTHING
        last = kept(etcd.kvs[self.session.writes]) if self.session.writes in etcd.kvs else NOTHING
        revision = claims.revision(etcd.txn(writes.taking_over(self.session, last, lease)))
        self.session = self.session._replace(written=revision)
        return last

    def _is_known(self) -> bool:
        """Tell whether etcd has all that it had (child/fleet/session.py); if not, look again in a while."""
        etcd = self.fleet.etcd
        found = self._marked()
        message = mark.settling(found, self.mark, f"{self.store} {self.fleet.random.getrandbits(64)}")
        if message is not None and (self.rules.age or not found.age):
            etcd.txn(message)
            found = self._marked()
        if self.rules.mark and not self.mark.is_in(found):
            self.conversation.suspend("etcd was put back")
            self.closed_until = self.fleet.now + 10 * SECOND
            self.fleet.at(self.closed_until, self._go_on)
            self._tell()
            return False
        self._note(found)
        return True

    def _marked(self) -> EtcdMark:
        return mark.read(self.fleet.etcd.txn({"success": [{"request_range": mark.READING}]}))

    def _note(self, found: EtcdMark, *, is_granted: bool = False) -> None:
        self.mark = found
        if is_granted or self.told_mark + 60 * SECOND <= self.fleet.now:
            self.told_mark = self.fleet.now
            self.conversation.outbox.append(["mark", *found])

    def read_all(self) -> None:
        """Take a snapshot."""
        if not self._is_known():
            return
        etcd, last = self.fleet.etcd, self._opened()
        self.is_late = last is None
        if last is None:
            return  # tried again
        self.fleet.pauses.begin_anew(self.store)
        assert self.session is not None
        self.watch += 1
        generation = self.conversation.begin(self.session, last, self.since)
        everything = {key: kept(kv) for key, kv in sorted(etcd.kvs.items())}
        ranges = claims.ranges(self.since)
        found = {key: it for key, it in everything.items() if any(begin <= key < end for begin, end in ranges)}
        half = len(found) // 2
        for part in (list(found.items())[:half], list(found.items())[half:]):
            self.conversation.read(generation, etcd.revision, dict(part))
        self.conversation.complete(generation)
        if self.swept is not self.conversation:
            self.swept = self.conversation
            self.swept.swept(everything)
        self._tell()

    def _carry_out(self, batch: RequestBatch) -> None:
        etcd = self.fleet.etcd
        if not self.rules.once:
            del batch.message["compare"][1]
        parts = (part["request_txn"] for part in batch.message["success"] if "request_txn" in part)
        puts = (each["request_put"] for part in parts for each in part["success"] if "request_put" in each)
        self.fleet.wanted.update(text(put["key"]) for put in puts)
        message = mark.guarded(batch.message, self.mark) if self.rules.mark else batch.message
        decided = etcd.decided(message)
        if self.rules.at_once and self.fleet.is_put_off(message):
            self.is_late = True
            return
        if self.rules.at_once:
            answer = self._twisted(etcd.apply(decided))
        else:
            answer = etcd.foreseen(decided)
            self.fleet.at(self.fleet.now + self._while(), lambda: etcd.apply(decided))
        self.is_late = self.fleet.random.random() < self.fleet.lossy
        if self.is_late:
            return  # asked again
        found = mark.after(answer, self.mark) if self.rules.mark else self.mark
        if found is None or claims.revision(answer) < self.conversation.revision:
            self.conversation.is_outdated = True
            return
        self._note(found, is_granted=True)
        self.conversation.answered(batch, answer)
        self._tell()

    def _twisted(self, answer: Message) -> Message:
        """An answer as whoever does not know what is this host's own takes it."""
        for part in claims.answers(answer):
            for each in part.get("responses", ()):
                for kv in each.get("response_range", {}).get("kvs", ()):
                    kind, value = text(kv["key"]).split("/")[2], kept(kv).value
                    is_off = {"runs": not self.rules.own_value, "locks": not self.rules.own_lock}.get(kind, False)
                    if is_off and value.split(" ")[0] == self.store:
                        kv["value"] = coded(f"another {value}")
        return answer

    def _changed(self) -> None:
        """Have what has changed told, by a watch that is somewhat late."""
        watch = self.watch

        def deliver() -> None:
            if watch != self.watch or self.cut_since is not None or self.conversation.reason:
                return
            for revision, changes in self.fleet.etcd.since(self.conversation.revision):
                self.conversation.watched(changes, revision, self.fleet.now)
            self._look()
            self._tell()

        self.watched = max(self.watched, self.fleet.now + self._while() + self.fleet.watch_lag())
        self.fleet.at(self.watched, deliver)

    def _look(self) -> None:
        """Look for the mark of the fleet, as an agent does from time to time."""
        if self.rules.mark and self.cut_since is None and self.looked + TTL <= self.fleet.now:
            self.looked = self.fleet.now
            if self.mark.is_in(found := self._marked()):
                self._note(found)
            else:
                self.conversation.is_outdated = True
                self._go_on()


def _is_returnable(owner: Value) -> bool:
    """Return whether a host that removes a job returns this occurrence to the others.

    It keeps a run that it took over from a lost host, and an occurrence that it has already skipped for all hosts.
    """
    return not hosts_before(owner.key) and not owner.state.startswith("skipped ")


def _is_forgotten(run: Run) -> bool:
    return run.reason is not None and run.reason.code is Code.FORGOTTEN_BY_FLEET


def _is_loss_elsewhere(run: Run) -> bool:
    return run.state is RunState.LOST and hosts_before(run.key) > 0


class Host(World):
    """A host of a fleet.  `doom` (n, k): its scheduler dies in the n-th turn from now, after k acts; `asks`: what it
    has asked, since it is there.
    """

    def __init__(self, fleet: Fleet, store: str, *jobs: Job, rules: Rules, **options: Any) -> None:
        self.fleet, self.store = fleet, store
        self.is_alive = False
        self.mark = FleetMark()
        """The mark of the fleet that it has saved."""
        self.doom: tuple[int, int] | None = None
        self._dies: tuple[str, type[Command]] | None = None
        self.asks: list[Ask] = []
        self.as_it_asks: Callable[[Ask], events.Event] | None = None
        """What happens a moment after it asks the next time."""
        self.told: list[Say] = []
        """What people are told: a notice is saved with what it is about, and survives a scheduler that can't log it."""
        self.heard: list[str] = []
        """How runs of other hosts have ended, as people are told of it."""
        self.left = set[tuple[str, int, int]]()
        """What came due of jobs, from an instant to another, while this host left them to those that are up to date."""
        self.lacked = list[tuple[str, int, int]]()
        """Each job that its files lacked, with the first and the last instant of that time."""
        self.for_itself = set[int]()
        """The indexes, in `said`, of the skips of jobs that this host no longer had."""
        fleet.hosts[store] = self
        self.agent = Agent(fleet, store, rules)
        super().__init__(*jobs, fleet=NAME, name=store, **options)

    def boot(self) -> None:
        """Start a scheduler, which is told of the fleet."""
        self.is_alive, self.doom = True, None
        self.fleet.pauses.forget(self.store)
        super().boot()
        self.agent.connect()

    def happen(self, *happened: events.Event, admit: bool = True, die_after: int | None = None) -> None:
        """One turn, maybe its last."""
        if not self.is_alive:
            return
        self.agent.note_there()
        if self.doom is not None and die_after is None:
            turns, acts = self.doom
            self.doom = None if turns <= 0 else (turns - 1, acts)
            if turns <= 0:
                die_after = acts
        cursors = {job.id: self.cursor(job.id) for job in self.scheduler.catalog}
        outdated, before = set(self.scheduler._state.fleet.outdated), len(self.said)
        super().happen(*happened, admit=admit, die_after=die_after)
        for place, said in enumerate(self.said[before:], before):
            if said.event == "run_skipped" and said.fields["job"] not in self.scheduler.catalog:
                self.for_itself.add(place)
        outdated |= self.scheduler._state.fleet.outdated
        self.left |= {(job, since, self.cursor(job)) for job, since in cursors.items() if job in outdated}
        if die_after is not None:
            self.is_alive = False

    def leave(self) -> None:
        """Go down, with scheduler and agent; what runs goes on."""
        self.is_alive = False
        self.agent.die()

    def come_back(self) -> None:
        """Come up again."""
        self.agent.heal()
        self.boot()

    def cursor(self, job: str) -> int:
        """How far a job's clock has come."""
        return self.scheduler._state[job].saved.cursor

    def die(self, when: str, act: type[Command]) -> None:
        """Have its scheduler die in the turn of the next such act: "before its commit", "before" or "after" it."""
        self._dies = when, act

    def _carry_out(self, commands: list[Command], die_after: int | None) -> None:
        when, wanted = self._dies or ("", Launch)
        acts = [command for command in commands if not isinstance(command, Save)]
        places = [place for place, act in enumerate(acts) if when and isinstance(act, wanted)]
        if places and die_after is None:
            die_after = {"before its commit": -1, "before": places[0], "after": places[0] + 1}[when]
            self.is_alive, self._dies = False, None
        super()._carry_out(commands, die_after)

    def _commit(self, commands: list[Command]) -> bool:
        committed = super()._commit(commands)
        marks = [command.mark for command in commands if isinstance(command, SaveFleetMark) and committed]
        self.mark = marks[-1] if marks else self.mark
        self.told += [command for command in commands if isinstance(command, Say) and committed]
        return committed

    def may_have(self, job: Job) -> bool:
        """Whether it is one of those that may run a job: it has its labels, and the definition by which all go."""
        return set(job.hosts) <= set(self.limits.labels) and job.id not in self.scheduler._state.fleet.outdated

    def has_given_up(self, job: str, due: int) -> bool:
        """Whether a skip of this host covers a due time, or it went down with a run of that as it was to start, or left
        it to others, or had no such job.
        """
        if any(name == job and since < due <= to for name, since, to in (*self.left, *self.lacked)):
            return True
        given_up = (RunState.SKIPPED, RunState.LOST)
        skips = (run for run, _ in self.rows.values() if run.id.job == job and run.state in given_up)
        return any(run.due <= due <= (run.last_due or run.due) for run in skips)

    def has_removed(self, job: str, due: int) -> bool:
        """Return whether this host skipped a due time because the job was removed; other hosts may run it."""
        return any(
            run.id.job == job and run.due <= due <= (run.last_due or run.due)
            and run.reason is not None and run.reason.code in REMOVALS
            for run, _ in self.rows.values()
        )  # fmt: skip

    def has_record_for_all(self, job: str, due: int, owner: Value | None) -> bool:
        """Return whether this host has a record of a due time that counts for all hosts.

        Such a record is the skip by the occurrence's `owner`, or the loss of the owner's host. If etcd has no owner,
        any host's skip counts, and so does the loss of another host, or a record that etcd forgot the occurrence.
        """
        rows = [run for run in self._rows_of(job) if run.due == due]
        if owner is not None and owner.state == RunState.LOST:
            return any(run.state is RunState.LOST for run in rows)
        if owner is None and any(_is_forgotten(run) or _is_loss_elsewhere(run) for run in rows):
            return True
        return (owner is None or owner.store == self.store) and bool(self.skipped_for_all(job, due))

    def _rows_of(self, job: str) -> list[Run]:
        return [run for run, _ in self.rows.values() if run.id.job == job]

    def stranded(self) -> set[tuple[str, str]]:
        """What this host has in the fleet though it is on hold, and has not begun, by job and key.

        A retry waits on its host, also one after the loss of another host.
        """
        can_tell = self.is_alive and self.agent.cut_since is None and not self.scheduler.fleet.down
        if self.scheduler.hold is None or not can_tell:
            return set()
        waiting = (run for run in self.scheduler.runs.values() if run.state in PENDING and run.so_far is None)
        waiting = (run for run in waiting if not hosts_before(run.key))
        own = ((run, self.fleet.etcd.keys.get(("run", run.id.job, run.key))) for run in waiting)
        return {(run.id.job, run.key) for run, it in own if it is not None and (it.store, it.state) == (self.store, "")}

    def skipped_for_all(self, job: str, due: int) -> dict[str, str]:
        """The records by which this host has skipped a due time for all, as far as it has said so, with the reasons."""
        found, by_people = dict[str, str](), {str(run.id) for run in self._rows_of(job) if not is_of_fleet(run.key)}
        for place, said in enumerate(self.said):
            it = said.fields
            is_it = said.event == "run_skipped" and it["job"] == job and it["first"] <= due <= it["due"]
            is_it = is_it and str(it["run"]) not in by_people
            if is_it and place not in self.for_itself and it["reason"] in ("missed", "paused", "start_deadline"):
                found[str(it["run"])] = str(it["reason"])
        return found

    def _act(self, command: Command) -> None:
        if isinstance(command, FleetCommand) and "state" in self.full:  # as Acts does
            self.agent.connection += 1
            self.answers.append(FleetReachability("this host can't save its state, so it must not get new claims"))
        elif isinstance(command, FleetCommand):
            if isinstance(command, Ask):
                assert command.run in self.rows or isinstance(command.run, LockClientId), "asked before the commit"
                self.asks.append(command)
                if self.as_it_asks is not None and isinstance(command.run, RunId):
                    event, self.as_it_asks = self.as_it_asks, None
                    self.fleet.at(self.fleet.now + SECOND // 1000, lambda: self.happen(event(command)))
            self.agent.request(command)
        elif isinstance(command, EndedElsewhere):
            self.heard.append(command.state)
        super()._act(command)
        if isinstance(command, Reply):
            self.fleet.pauses.answer(self.store, command.ticket, command.error)
            self.fleet.check_holders()

    def _launch(self, command: Launch) -> None:
        before = len(self.launched)
        super()._launch(command)
        if len(self.launched) > before:
            self.fleet.begun(self, command)


@dataclass
class Fleet:
    """Hosts with the same jobs; `lossy`: how many of etcd's answers are lost; `late`: the chances by which etcd carries
    out late what it was asked, in the place of it or once more; `lags`: those by which watches tell of it late.
    """

    random: Random
    late: Random | None = None
    lags: Random | None = None
    etcd: Etcd = field(default_factory=Etcd)
    hosts: dict[str, Host] = field(default_factory=dict)
    lossy: float = 0.0
    now: int = MIDNIGHT
    started: Started = field(default_factory=dict)
    starts: int = 0
    """The number of processes that have begun."""
    fences: dict[str, int] = field(default_factory=dict)
    pauses: Pauses = field(default_factory=Pauses)
    units: dict[str, int] = field(default_factory=dict)
    """The units of each lock that has several."""
    wanted: Counter[str] = field(default_factory=Counter)
    """How often hosts have asked to write each key."""
    _messages: list[tuple[int, int, Callable[[], object]]] = field(default_factory=list)
    _number: int = 0
    more: int = LEAST_MORE
    """Seconds for which occurrences are remembered longer than their jobs say."""
    _leases: int = max(LEASES.values())

    def add(self, store: str, *jobs: Job, rules: Rules | None = None, **options: Any) -> Host:
        """One more host."""
        for each in jobs:
            self.units.update(places_of(each))
        self.units.update(options.get("of_fleet", {}))
        return Host(self, store, *jobs, rules=rules or Rules(), start=self.now, **options)

    def at(self, instant: int, what: Callable[[], object]) -> None:
        """Do something at an instant."""
        self._number += 1
        heappush(self._messages, (max(instant, self.now), self._number, what))

    def pass_time(self, seconds: float) -> None:
        """Let time pass on all hosts, jumping from one thing to the next."""
        until, steps, before = self.now + round(seconds * SECOND), 0, self.starts
        while True:
            steps += 1
            most = 4000 + 4 * round(seconds) + _STEPS_A_START * (self.starts - before)
            assert steps < most, "somebody asks over and over again"
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

    def lease(self, keep: int) -> Lease:
        """A lease by which occurrences are remembered for so long (s), as short as it may be."""
        self._leases += 1
        self.at(self.now + (keep + keep // 8 + self.more) * SECOND, partial(self.etcd.lapse, self._leases))
        return Lease(self._leases, keep, self.now + keep // 8 * SECOND)

    def watch_lag(self) -> int:
        """The time (ns) by which a watch tells of a change later than it usually does."""
        return 0 if self.lags is None else round(self.lags.choice(_LAGS) * SECOND)

    def is_put_off(self, message: Message) -> bool:
        """Tell whether something is carried out later than it was asked for, and its answer lost; or have it carried
        out later once more, when nothing may change by it.
        """
        chance = 1.0 if self.late is None else self.late.random()
        if self.late is None or chance >= _COPIED:
            return False
        later = self.now + round(self.late.choice(_LATER) * SECOND)
        self.at(later, partial(self.etcd.txn if chance < _PUT_OFF else self._repeat, message))
        return chance < _PUT_OFF

    def _repeat(self, message: Message) -> None:
        before = self.etcd.revision
        self.etcd.txn(message)
        assert before == self.etcd.revision, f"a late copy has changed {self.etcd.changes[-1]}, in {message}"

    def put_back(self, snapshot: tuple[int, dict[str, Message]], bump: int, *, at_once: bool) -> Started:
        """Put etcd back to what it was; `at_once`: in less time than a session lives.

        Return what had started by then. Etcd answers nobody meanwhile; a grant that an agent already has still arrives.
        """
        asking = [host.agent for host in self.hosts.values() if host.agent.cut_since is None]
        for agent in asking:
            agent.cut()
        self.pass_time(0.01)
        ran = dict(self.started)
        self.etcd.restore(snapshot, bump)
        for agent in asking:
            agent.heal()
        for host in self.hosts.values():
            host.agent.put_back(at_once=at_once)
        return ran

    def begun(self, host: Host, launch: Launch) -> None:
        """A process has begun: its occurrence is nobody else's, and so are the locks that it holds in the fleet."""
        run, key = launch.run, launch.run.key
        self.starts += 1
        if key.startswith("f"):
            known = self.started.setdefault((run.id.job, key), (host.store, run.id))
            assert known == (host.store, run.id), f"{run.id.job}/{key} runs on {host.store} and on {known}"
        for claim in of_fleet(run.claims):
            before, fence = self.fences.get(claim.resource, 0), launch.grant.fence
            if claim.exclusive:  # units are had side by side
                assert fence > before, f"the fence of {claim.resource} does not rise"
            self.fences[claim.resource] = max(before, fence)
        self.check_holders()

    def check_holders(self) -> None:
        """No more of a lock is held by processes, of runs and of people, than there is."""
        holders: dict[str, list[str]] = defaultdict(list)
        for other in self.hosts.values():
            runs = ((str(name), other.holding[name][0]) for name in other.processes)
            clients = ((str(mark.client), mark.claims) for mark in other.lock_clients.values())
            for name, held in (*runs, *clients):
                for claim in of_fleet(held):
                    of, holding = self.units.get(claim.resource, 1), holders[claim.resource]
                    holding += [f"{name} on {other.store}"] * Locks(self.units).parts((claim,))[0].units
                    assert len(holding) <= of, f"{claim.resource} is held by {holding}"

    def _last_owner(self, job: str, key: str) -> Value | None:
        """Whose an occurrence is by now: where it was lost with its host, of whoever has the attempt after that."""
        keys = self.etcd.keys
        owner = keys.get(("run", job, key))
        while owner is not None and (later := keys.get(("run", job, claims.next_attempt(owner.key)))) is not None:
            owner = later
        return owner

    def _skipper(self, job: str, due: int) -> Value | None:
        """Who has skipped an occurrence with others after it, by the key of the last."""
        spans = [
            (span_of(it.state, second_of(it.key)), it) for key, it in self.etcd.keys.items() if key[:2] == ("run", job)
        ]
        return next((it for span, it in spans if span.covers(due // SECOND)), None)

    def doubled(self, job: Job, since: int, until: int) -> list[tuple[int, list[str]]]:
        """The due times that have two records, or were skipped for all hosts and have run, with those records."""
        found, due = list[tuple[int, list[str]]](), job.next_after(since)
        while due is not None and due <= until:
            skips = [
                f"{host.store}: {run} {reason}"
                for host in self.hosts.values()
                for run, reason in host.skipped_for_all(job.id, due).items()
            ]
            ran = self.started.get((job.id, f"f{due // SECOND}"))
            if len(skips) + bool(skips and ran) > 1:
                found.append((due, [*skips, str(ran)]))
            due = job.next_after(due)
        return found

    def missing(self, job: Job, since: int, until: int) -> list[int]:
        """The due times of a job that no host has run, and whose host, or every host where it is nobody's, has not
        skipped.
        """
        dues, due = list[int](), job.next_after(since)
        while due is not None and due <= until:
            key = f"f{due // SECOND}"
            owner = self._last_owner(job.id, key)
            if owner is None or owner.state == "over":  # it was asked for as another skipped it
                owner = self._skipper(job.id, due) or owner
            if any(host.has_record_for_all(job.id, due, owner) for host in self.hosts.values()):
                due = job.next_after(due)
                continue
            able = [host for host in self.hosts.values() if host.may_have(job)]
            if owner is None and (skipped := self.etcd.lapsed_skips.get(("run", job.id, key))) is not None:
                asked = [self.hosts[skipped.store]]  # it may have died before it wrote the record
            elif owner is None or (_is_returnable(owner) and self.hosts[owner.store].has_removed(job.id, due)):
                asked = able
            else:
                asked = [self.hosts[owner.store]]
            tried = {key, claims.next_attempt(key) if owner is None else owner.key}
            has_run = any((job.id, each) in self.started for each in tried)
            if not has_run and not all(host.has_given_up(job.id, due) for host in asked):
                dues.append(due)
            due = job.next_after(due)
        return dues
