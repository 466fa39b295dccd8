"""The fleet as this host knows it: whether it can be asked, what it was asked for, which occurrences others have."""

from __future__ import annotations

from collections import Counter, defaultdict

from jobqueued.child.fleet.host_order import HostOrder
from jobqueued.child.fleet.lines import RETURNED
from jobqueued.child.tuples import NamedTuple
from jobqueued.commands import Announce, GiveBack, Stand
from jobqueued.core import memory
from jobqueued.core.elsewhere import Elsewhere
from jobqueued.core.presence import Presence
from jobqueued.core.recollection import end_of
from jobqueued.events import HostLost, HostSeen, PauseAsked
from jobqueued.model import Holder, Job, Record, Run, RunId, RunState, Scope
from jobqueued.queue.locks import PLACES, Claims, asks_fleet, of_fleet


class Asked(NamedTuple):
    """A question to the fleet: its number, and how its run stood in the queue then."""

    number: int
    priority: float
    waited_for: list[str]
    claims: Claims
    skip: str = ""
    """The reason for which it is to be skipped, if that is what was asked; "": it is to run."""
    asks_at: int | None = None
    """Until when (monotonic, ns) it is left to other hosts to ask that; None: the fleet was asked."""


class Verdict(NamedTuple):
    """The wish to skip what a job's clock has come to, for all hosts: due times in order, and the reason.

    `asks_at`: until when (monotonic, ns) it is left to other hosts to ask; None: the fleet was asked.
    """

    dues: list[int]
    reason: str
    asks_at: int | None = None


class Pausing(NamedTuple):
    """A pause that somebody has asked for, or the end of one, and what the fleet has once it is so.

    Whoever has asked is answered once this host has made it, so that nothing of it comes after the answer, and has
    heard of it.  `was_paused`: how the job was on this host as that was asked.
    """

    ask: PauseAsked
    text: str
    was_paused: bool
    is_made: bool = False
    is_heard: bool = False


def is_of_fleet(key: str) -> bool:
    """Tell whether an occurrence with this key is one of the whole fleet."""
    return key[:1] == "f" and key.isascii() and key[1:].replace(".", "", 1).isdigit()


def second_of(key: str) -> int:
    """The UTC second of an occurrence of the fleet."""
    return int(key[1:].partition(".")[0])


def hosts_before(key: str) -> int:
    """The number of hosts that had an occurrence, and were lost: one less than what the key has after its second."""
    number = key.partition(".")[2]
    return int(number) - 1 if number and is_of_fleet(key) else 0


def is_begun_elsewhere(run: Run) -> bool:
    """Tell whether a run stands for what a host has begun that is gone, and the fleet was not asked about that yet."""
    return not run.attempt and hosts_before(run.key) > 0


def unstarted(run: Run) -> str:
    """The state in which a run gives back what it was granted and has not started with: its occurrence is nobody's
    again, unless it is a further attempt; "": that stays this host's.
    """
    return RETURNED if is_of_fleet(run.key) and not hosts_before(run.key) and run.so_far is None else ""


class FleetState:
    """The fleet of this name; "": the host is in none, and nothing is asked.

    A run that the fleet is asked about holds its claims on this host meanwhile, in no other place than its job's
    `waiting`; nothing of that is saved: whoever asks anew after a restart gets what was granted before.
    """

    def __init__(self, name: str, labels: tuple[str, ...] = ()) -> None:
        self.name, self.labels = name, labels
        self.down = "its fleet has not been reached yet" if name else ""
        """The reason why the fleet can't be asked; "": it can."""
        self.asked: dict[RunId, Asked] = {}
        self.specs: dict[str, str] = {}
        """The definitions of its jobs, by their hashes (core/agreement.py), as this host has them."""
        self.published: dict[str, str] = {}
        """The same as the fleet has them (core/memory.py)."""
        self.definitions: dict[str, str] = {}
        """The same once what this host has published is there, if it is."""
        self.offers: dict[str, str] = {}
        """Of jobs whose definition this host has published, and no answer tells yet what came of it: what was there."""
        self.outdated: set[str] = set()
        """Those of its jobs of which the fleet has a newer one."""
        self.hosts: dict[str, HostSeen] = {}
        """The hosts that have a session, by name, this one among them; none once it is down."""
        self._orders: dict[tuple[str, ...], HostOrder] = {}
        """Their orders, by the labels that a job wants."""
        self._announced: Announce | None = None
        """What the others know of this host; None: it is not known what that is."""
        self._number = 0
        self.elsewhere = Elsewhere()
        """What other hosts have, of what is to come."""
        self._newest, self._succeeded = dict[str, tuple[int, int]](), dict[str, int]()
        """By job, the newest attempt of its occurrences (UTC second, hosts before) whose end is known; the newest of
        these (UTC second) that has succeeded on another host.
        """
        self.presence = Presence()
        self.verdicts: dict[str, Verdict] = {}
        """By job, what the fleet is asked to leave to this host to skip; its clock waits for the answer."""
        self.leading: set[str] = set()
        """The jobs of which this host was left something to skip, so that it is first to ask for what comes next."""
        self.losses = defaultdict[str, dict[str, tuple[int, HostLost]]](dict)
        """By job and key, what was lost with its host, and until when (monotonic, ns) it is left to others to tell."""
        self.paused: dict[str, str] = {}
        """The jobs that all hosts have paused (core/pauses.py)."""
        self.overdue, self.unheard = dict[str, str](), dict[str, int]()
        """The jobs of which one of the hosts has told that they are overdue (core/fleet_overdue.py); those that are so
        by this host, while the fleet says nothing, and since when (wall).
        """
        self.pausing: list[Pausing] = []
        """The pauses that people have asked for, and the ends of some."""
        self.line: set[str] = set()
        """The locks for which this host stands in line."""
        self._moved: set[str] = set()
        """Those for which somebody here began or ceased to wait in this turn."""
        self._waiters: dict[Holder, tuple[str, ...]] = {}
        self._wanted = Counter[str]()
        """Locks by who waits for them in the queue, and by how many."""
        self._asking = Counter[str]()
        """How many questions are about each."""
        self.given_back: dict[tuple[str, str], str] = {}
        """By job and key, how that has ended ("": it goes on) which gives back what it has in the fleet."""

    def rests(self, job: Job) -> bool:
        """Tell whether the clock of a job waits until its fleet can be asked, and has no other definition of it."""
        return job.scope is Scope.FLEET and (bool(self.down) or job.id in self.outdated)

    def is_outdated(self, job: Job) -> bool:
        """Tell whether the fleet goes by a newer definition of a job than this host has, as far as that is known now,
        and runs it on hosts like this one.
        """
        return job.id in self.outdated and not self.down and not self.lacks(job)

    def memory(self, job: Job, wall: int) -> int | None:
        """Return for how long (ns) before an instant the fleet remembers which occurrences of a job were run; None: as
        long as the job looks back.
        """
        known = memory.parse_definition(self.definitions.get(job.id, ""))
        return known.reach(wall) if job.scope is Scope.FLEET and known.window else None

    def remembers(self, job: Job, due: int) -> int:
        """Return for how long (ns) the fleet remembers an occurrence after a host had it, by when (wall) it was due."""
        known = memory.parse_definition(self.definitions.get(job.id, ""))
        return known.kept(due) if known.window else memory.looks_back(job)

    def definition(self, job: str) -> str:
        """The definition that the fleet has to have for what this host asks about a job; "": any, as it has none."""
        own, text = self.specs.get(job, ""), self.definitions.get(job, "")
        return text if memory.parse_definition(text).spec == own else own

    def rest_of(self, job: Job) -> str:
        """Word why none of a job's runs starts here now; "": its fleet lets them."""
        if self.down and asks_fleet(job):
            return f"its fleet can't be asked: {self.down}"
        if lacking := self.lacks(job):
            return f"hosts of its fleet run it that have the label {lacking[0]}, and this one has not"
        if self.is_outdated(job):
            remedy = "to have it run here: bring them up to date, or change the job in them, as the last change counts"
            return f"its fleet goes by a newer definition of it than the files of this host have; {remedy}"
        return ""

    def ask(self, run: Run, claims: Claims, priority: float, waited_for: list[str]) -> int:
        """Note that the fleet is asked about a run, which wants these claims; the number of the question."""
        number = self.question(claims)
        self.asked[run.id] = Asked(number, priority, waited_for, claims)
        self.given_back.pop((run.id.job, run.key), None)
        return number

    def ask_to_skip(self, run: Run, reason: str, asks_at: int) -> None:
        """Note that the fleet is asked at an instant (monotonic, ns) to leave it to this host to skip a run."""
        self.asked[run.id] = Asked(self.question(()), 0, [], (), reason, asks_at)

    def question(self, claims: Claims) -> int:
        """Note that there is a question about these claims; its number."""
        self._number += 1
        self._asking.update(claim.resource for claim in claims)
        return self._number

    def answered(self, run: RunId) -> Asked | None:
        """Take the question about a run back, as there is an answer; None: there was none."""
        if (asked := self.asked.pop(run, None)) is not None:
            self.answered_part(asked.claims)
        return asked

    def answered_part(self, claims: Claims) -> None:
        """Note that a question about these claims is over."""
        for claim in claims:
            self._asking[claim.resource] -= 1
            if not self._asking[claim.resource]:
                del self._asking[claim.resource]
        self._moved.update(claim.resource for claim in claims if not claim.resource.startswith(PLACES))

    def withdraw(self, run: Run, state: str = "") -> None:
        """Give back what the fleet may grant to a run after all; with a `state` its occurrence is over."""
        self.answered(run.id)
        self._note(run, state or self.given_back.get((run.id.job, run.key), unstarted(run)))

    def give_back(self, run: Run, record: Record | None = None) -> None:
        """Give back what the fleet may have granted to a run; with a record it has ended."""
        if self.name and (is_of_fleet(run.key) or of_fleet(run.claims)):
            self._note(run, "" if record is None else end_of(record))
            if record is not None and is_of_fleet(run.key) and record["state"] != RunState.SKIPPED:
                self.is_newer_end(run.id.job, run.key)

    def is_newer_end(self, job: str, key: str) -> bool:
        """Note the end of an occurrence; tell whether neither this nor one of a later one was known."""
        attempt = second_of(key), hosts_before(key)
        is_newer = attempt > self._newest.get(job, (0, 0))
        if is_newer:
            self._newest[job] = attempt
        return is_newer

    def is_newer_success(self, job: str, key: str) -> bool:
        """Note the success of an occurrence on another host; tell whether neither it nor that of a later one was
        known.
        """
        second = second_of(key)
        is_newer = second > self._succeeded.get(job, 0)
        if is_newer:
            self._succeeded[job] = second
        return is_newer

    def _note(self, run: Run, state: str = "") -> None:
        name = run.id.job, run.key
        self.given_back[name] = state or self.given_back.get(name, "")

    def note_wait(self, holder: Holder, claims: Claims = ()) -> None:
        """Note for which claims somebody here waits from now on; (): for none any more."""
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
        """Leave the lines for what was granted; who waits on stands at the end then."""
        held = [claim.resource for claim in of_fleet(claims) if claim.resource in self.line]
        self.line.difference_update(held)
        self._moved.update(held)
        return [Stand(lock, joins=False) for lock in held]

    def unknown(self) -> None:
        """Stand in no line any more, and have announced and published nothing, as nobody knows of it."""
        self._announced = None
        self.offers.clear()
        self._moved.update(self.line)
        self.line.clear()

    def take_moves(self, *, is_held: bool) -> list[Stand | Announce]:
        """Hand over what the others have to know since the last time: what this host is, where it is in line."""
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
        """Hand over what goes back to the fleet since the last time."""
        given_back, self.given_back = self.given_back, {}
        return [GiveBack(job, key, state) for (job, key), state in given_back.items()]

    def lacks(self, job: Job) -> list[str]:
        """The labels that this host has not, and a job wants of its hosts."""
        return [label for label in job.hosts if label not in self.labels]

    def note_host(self, host: HostSeen) -> None:
        """Take over that a host has a session, or has none any more (`store` is empty)."""
        self.hosts[host.name] = host
        if not host.store:
            del self.hosts[host.name]
        self._orders.clear()

    def forget_hosts(self) -> None:
        """Know no host any more."""
        self.hosts.clear()
        self._orders.clear()

    def turn_of(self, own: str, job: Job, key: str, within: int | None = None) -> int:
        """For how long (ns) this host, `own` by its name, leaves something about a job to those that come before it: an
        occurrence, or what is to be said of one.  `within`: all have had their turns after so long.
        """
        if (order := self._orders.get(job.hosts)) is None:
            able = {name: it for name, it in self.hosts.items() if set(job.hosts).issubset(it.labels)}
            ready = [name for name, it in able.items() if not it.is_held]
            order = self._orders[job.hosts] = HostOrder(ready or able)
        return order.wait(own, f"{job.id} {key}", within)
