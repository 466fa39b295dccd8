"""The fleet as this host sees it: whether it is reachable, the open questions, and other hosts' occurrences."""

from __future__ import annotations

from collections import Counter, defaultdict

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Reason
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet.etcd.host_order import HostOrder
from jobqueued.child.fleet.lines import RETURNED
from jobqueued.core.hosts import memory
from jobqueued.core.hosts.claimed_by_others import Elsewhere
from jobqueued.core.hosts.presence import Presence
from jobqueued.core.records.recollection import end_of
from jobqueued.model.commands import Announce, GiveBack, Stand
from jobqueued.model.events import HostLost, HostSeen, PauseAsked, Published
from jobqueued.model.fleet import SaidOverdue
from jobqueued.model.job import Job, Scope
from jobqueued.model.run import Holder, Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.queue.locks import PLACES, Claims, asks_fleet, of_fleet


class FleetQuestion(NamedTuple):
    """A question to the fleet: its number, and the priority, waits and claims that its run had in the queue."""

    number: int
    priority: float
    waited_for: list[str]
    claims: Claims
    skip: Reason | None = None
    """The reason for the skip if the question is about a skip; None if the run is to start."""
    asks_at: int | None = None
    """Instant (monotonic, ns) until which other hosts may ask first, or None if the fleet was asked."""


class SkipWish(NamedTuple):
    """This host's request to skip due times for all hosts: the due times, in order, and the reason.

    The job's clock has reached these due times. `asks_at`: instant (monotonic, ns) until which other hosts may ask
    first, or None if the fleet was asked.
    """

    dues: list[int]
    reason: Reason
    asks_at: int | None = None


class Pausing(NamedTuple):
    """A user's request to pause or resume a fleet job, and the value that it sets in the fleet.

    The user gets the reply when the fleet has carried out the request (`is_made`) and has reported the new value back
    (`is_heard`). Therefore the request has taken effect before the reply. `was_paused`: whether the job was paused on
    this host before.
    """

    ask: PauseAsked
    text: str
    was_paused: bool
    is_made: bool = False
    is_heard: bool = False


def is_of_fleet(key: str) -> bool:
    """Return whether a key belongs to an occurrence of the whole fleet."""
    second, dot, attempt = key[1:].partition(".")
    return key[:1] == "f" and key.isascii() and second.isdigit() and (not dot or attempt.isdigit())


def second_of(key: str) -> int:
    """Return the UTC second of an occurrence of the fleet."""
    return int(key[1:].partition(".")[0])


def hosts_before(key: str) -> int:
    """Return how many hosts were lost while they ran an occurrence: the attempt number at the end of its key, minus
    1.
    """
    number = key.partition(".")[2]
    return int(number) - 1 if number and is_of_fleet(key) else 0


def is_begun_elsewhere(run: Run) -> bool:
    """Return whether a run stands for a lost host's run that the fleet has not yet granted to this host."""
    return not run.attempt and hosts_before(run.key) > 0


def unstarted(run: Run) -> str:
    """Return the state with which this host gives back the unused grant of a run.

    RETURNED frees the occurrence for any host. "" keeps the occurrence for this host, because a later attempt may need
    it.
    """
    return RETURNED if is_of_fleet(run.key) and not hosts_before(run.key) and run.so_far is None else ""


class FleetState:
    """The state of the fleet; `name` is "" if the host is in no fleet.

    While a question about a run is open, the run holds its claims on this host and remains in its job's `waiting`.
    Questions are not saved: if the host repeats a question after a restart, it gets the same grant.
    """

    def __init__(self, name: str, labels: tuple[str, ...] = ()) -> None:
        self.name, self.labels = name, labels
        self.down = "its fleet has not been reached yet" if name else ""
        """The reason why the fleet is unreachable, or "" if it is reachable."""
        self.asked: dict[RunId, FleetQuestion] = {}
        self.specs: dict[str, str] = {}
        """Fleet job → hash of its definition on this host (core/jobs/agreement.py)."""
        self.published: dict[str, Published] = {}
        """Job → its definition in the fleet (core/hosts/memory.py)."""
        self.definitions: dict[str, str] = {}
        """Job → its definition in the fleet, or the definition that this host has published to replace it."""
        self.offers: dict[str, int] = {}
        """Job → revision of the definition that this host's publication is to replace; removed once the outcome is
        known.
        """
        self.outdated: set[str] = set()
        """Jobs that have a newer definition in the fleet."""
        self.hosts: dict[str, HostSeen] = {}
        """Host → its session, including this host's; empty while the fleet is down."""
        self._orders: dict[tuple[str, ...], HostOrder] = {}
        """Labels that a job requires → the order of the hosts with these labels."""
        self._announced: Announce | None = None
        """The newest announcement of this host that reached the other hosts, or None if unknown."""
        self._number = 0
        self.elsewhere = Elsewhere()
        """Other hosts' occurrences that the clock has yet to reach."""
        self._newest, self._succeeded = dict[str, tuple[int, int]](), dict[str, int]()
        """Two mappings: job → newest attempt whose end is known (UTC second of the occurrence, number of hosts lost
        before); job → newest occurrence (UTC second) that succeeded on another host.
        """
        self.presence = Presence()
        self.verdicts: dict[str, SkipWish] = {}
        """Job → due times that this host has asked the fleet to skip; the job's clock waits for the answer."""
        self.leading: set[str] = set()
        """Jobs whose last skips the fleet left to this host; for their next skips, this host asks without waiting for
        other hosts.
        """
        self.losses = defaultdict[str, dict[str, tuple[int, HostLost]]](dict)
        """Job → key → the instant (monotonic, ns) when this host may take over a lost run, and the loss. Other hosts
        come first.
        """
        self.paused: dict[str, str] = {}
        """Job → its pause on all hosts, as text (core/jobs/pauses.py)."""
        self.overdue, self.unheard = dict[str, SaidOverdue](), dict[str, int]()
        """Two mappings about overdue jobs (core/late/fleet_overdue.py): job → a host's report that it is overdue;
        job → the instant (wall) since when this host waits for the fleet's answer about it.
        """
        self.pausing: list[Pausing] = []
        """Users' requests, still without a reply, to pause or resume fleet jobs."""
        self.line: set[str] = set()
        """Locks whose line (queue of hosts) this host has joined."""
        self._moved: set[str] = set()
        """Locks that a run or client of this host started or stopped waiting for in this turn."""
        self._waiters: dict[Holder, tuple[str, ...]] = {}
        self._wanted = Counter[str]()
        """Lock → number of runs and clients in the queue that wait for it."""
        self._asking = Counter[str]()
        """Lock → number of open questions about it."""
        self.given_back: dict[tuple[str, str], str] = {}
        """Job and key of a run whose claims are given back to the fleet → the end of its occurrence, or "" if this host
        keeps the occurrence.
        """

    def rests(self, job: Job) -> bool:
        """Return whether a job's clock waits because the fleet is unreachable or has a newer definition of the job."""
        return job.scope is Scope.FLEET and (bool(self.down) or job.id in self.outdated)

    def is_outdated(self, job: Job) -> bool:
        """Return whether the fleet is reachable and has a newer definition of a job that would run here."""
        return job.id in self.outdated and not self.down and not self.lacks(job)

    def memory(self, job: Job, wall: int) -> int | None:
        """Return how far back (ns) from an instant (wall) the fleet remembers which occurrences of a job ran.

        None means as far as the job looks back.
        """
        known = memory.parse_definition(self.definitions.get(job.id, ""))
        return known.reach(wall) if job.scope is Scope.FLEET and known.window else None

    def remembers(self, job: Job, due: int) -> int:
        """Return how long (ns) the fleet remembers an occurrence due at `due` (wall) after a host had it."""
        known = memory.parse_definition(self.definitions.get(job.id, ""))
        return known.kept(due) if known.window else memory.looks_back(job)

    def definition(self, job: str) -> str:
        """Return the definition that the fleet must have when it answers about a job, or "" if any definition is
        accepted.
        """
        own, text = self.specs.get(job, ""), self.definitions.get(job, "")
        return text if memory.parse_definition(text).spec == own else own

    def rest_of(self, job: Job) -> str:
        """Return why the fleet lets no run of a job start here now, or "" if runs may start."""
        if self.down and asks_fleet(job):
            return f"its fleet is unreachable: {self.down}"
        if lacking := self.lacks(job):
            return f"only hosts of its fleet with the label {lacking[0]} run it, and this host does not have the label"
        if self.is_outdated(job):
            remedy = (
                "to run the job here: update these files, or change the job in them, because the last change counts"
            )
            return f"its fleet uses a newer definition than this host's files have; {remedy}"
        return ""

    def ask(self, run: Run, claims: Claims, priority: float, waited_for: list[str]) -> int:
        """Record a question about a run with these claims; return the question's number."""
        number = self.question(claims)
        self.asked[run.id] = FleetQuestion(number, priority, waited_for, claims)
        self.given_back.pop((run.id.job, run.key), None)
        return number

    def ask_to_skip(self, run: Run, reason: Reason, asks_at: int) -> None:
        """Record that this host will ask the fleet, at `asks_at` (monotonic, ns), whether it may skip a run for all
        hosts.
        """
        self.asked[run.id] = FleetQuestion(self.question(()), 0, [], (), reason, asks_at)

    def question(self, claims: Claims) -> int:
        """Record a question about these claims; return its number."""
        self._number += 1
        self._asking.update(claim.resource for claim in claims)
        return self._number

    def answered(self, run: RunId) -> FleetQuestion | None:
        """Remove and return the question about a run after its answer; return None if no question is open."""
        if (asked := self.asked.pop(run, None)) is not None:
            self.answered_part(asked.claims)
        return asked

    def answered_part(self, claims: Claims) -> None:
        """Record that a question about these claims is over."""
        for claim in claims:
            self._asking[claim.resource] -= 1
            if not self._asking[claim.resource]:
                del self._asking[claim.resource]
        self._moved.update(claim.resource for claim in claims if not claim.resource.startswith(PLACES))

    def withdraw(self, run: Run, state: str = "") -> None:
        """Withdraw the question about a run, and give back any grant; a `state` other than "" ends the occurrence."""
        self.answered(run.id)
        self._note(run, state or self.given_back.get((run.id.job, run.key), unstarted(run)))

    def give_back(self, run: Run, record: Record | None = None) -> None:
        """Give back the occurrence and claims that the fleet may have granted to a run; with a record, the run has
        ended.
        """
        if is_of_fleet(run.key) or of_fleet(run.claims):
            self._note(run, "" if record is None else end_of(record))
            if record is not None and is_of_fleet(run.key) and record["state"] != RunState.SKIPPED:
                self.is_newer_end(run.id.job, run.key)

    def give_back_unused(self, run: Run) -> None:
        """Give back the occurrence and claims that the fleet may have granted to an unstarted run."""
        self._note(run, unstarted(run))

    def is_newer_end(self, job: str, key: str) -> bool:
        """Record the end of an occurrence's attempt; return whether the attempt is newer than all recorded before."""
        attempt = second_of(key), hosts_before(key)
        is_newer = attempt > self._newest.get(job, (0, 0))
        if is_newer:
            self._newest[job] = attempt
        return is_newer

    def is_newer_success(self, job: str, key: str) -> bool:
        """Record an occurrence that succeeded on another host; return whether it is newer than all recorded before."""
        second = second_of(key)
        is_newer = second > self._succeeded.get(job, 0)
        if is_newer:
            self._succeeded[job] = second
        return is_newer

    def _note(self, run: Run, state: str = "") -> None:
        name = run.id.job, run.key
        self.given_back[name] = state or self.given_back.get(name, "")

    def note_wait(self, holder: Holder, claims: Claims = ()) -> None:
        """Record the claims that a run or client of this host now waits for; () means that it no longer waits."""
        if not self.name:
            return
        before = self._waiters.pop(holder, ())
        locks = tuple(claim.resource for claim in of_fleet(claims) if not claim.resource.startswith(PLACES))
        self._wanted.subtract(before)
        self._wanted.update(locks)
        self._moved.update(before, locks)
        if locks:
            self._waiters[holder] = locks

    def had_turn(self, claims: Claims) -> list[Stand]:
        """Leave the lines for granted locks, and return the changes.

        If other runs here still wait for a lock, the host joins its line again later, at the end.
        """
        held = [claim.resource for claim in of_fleet(claims) if claim.resource in self.line]
        self.line.difference_update(held)
        self._moved.update(held)
        return [Stand(lock, joins=False) for lock in held]

    def unknown(self) -> None:
        """Leave all lines, and forget all announcements and publications, because the fleet may not have received
        them.
        """
        self._announced = None
        self.offers.clear()
        self._moved.update(self.line)
        self.line.clear()

    def take_moves(self, *, is_held: bool) -> list[Stand | Announce]:
        """Remove and return the changes that other hosts need since the last call: this host's announcement and
        lines.
        """
        news: list[Stand | Announce] = []
        if not self.down and self._announced != (self.labels, is_held):
            self._announced = Announce(self.labels, is_held)
            news.append(self._announced)
        return news if self.down or not self._moved else [*news, *self._moves()]

    def _moves(self) -> list[Stand]:
        moved, self._moved = self._moved, set()
        waits = {lock for lock in moved if self._wanted[lock] or (lock in self.line and lock in self._asking)}
        for lock in moved:
            if not self._wanted[lock]:
                del self._wanted[lock]
        changed = [lock for lock in sorted(moved) if (lock in waits) != (lock in self.line)]
        self.line.symmetric_difference_update(changed)
        return [Stand(lock, joins=lock in self.line) for lock in changed]

    def take_given_back(self) -> list[GiveBack]:
        """Remove and return everything given back to the fleet since the last call."""
        given_back, self.given_back = self.given_back, {}
        return [GiveBack(job, key, state) for (job, key), state in given_back.items()]

    def lacks(self, job: Job) -> list[str]:
        """Return the labels that a job requires and this host does not have."""
        return [label for label in job.hosts if label not in self.labels]

    def note_host(self, host: HostSeen) -> None:
        """Record that a host has a session; an empty `store` means that it no longer has one."""
        self.hosts[host.name] = host
        if not host.store:
            del self.hosts[host.name]
        self._orders.clear()

    def forget_hosts(self) -> None:
        """Forget all hosts."""
        self.hosts.clear()
        self._orders.clear()

    def turn_of(self, own: str, job: Job, key: str, within: int | None = None) -> int:
        """Return how long (ns) this host, named `own`, leaves an occurrence or report to the hosts that come first.

        `within`: maximum time (ns) of the turns of all hosts.
        """
        if (order := self._orders.get(job.hosts)) is None:
            able = {name: it for name, it in self.hosts.items() if set(job.hosts).issubset(it.labels)}
            ready = [name for name, it in able.items() if not it.is_held]
            order = self._orders[job.hosts] = HostOrder(ready or able)
        return order.wait(own, f"{job.id} {key}", within)
