"""The conversation of a host with its fleet: what its scheduler asks goes to etcd in order, in batches, again where an
answer is lost; what others have is told before what follows from it.  Pure.

Locks are known by a copy: a snapshot, and what the watch has told since.  An answer may be ahead of the watch, so what
it has read is taken over, too; of each key the newest counts.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import ROOT, Again, Claim, Denied, Found, Granted, Session, SessionOver, Stale, Taken
from jobqueued.child.fleet.lines import Line
from jobqueued.child.fleet.wire import Message, text

_JOBS, _LOCKS, _RUNS = (f"{ROOT}{kind}/" for kind in ("jobs", "locks", "runs"))
_OCCURRENCE = re.compile(rf"{_RUNS}(.+)/([0-9]{{1,12}})/[0-9]+")
_UNREACHED = "etcd has not answered yet"

Name = tuple[str, str]
"""A job and a key: what a claim is for."""


class Ask(NamedTuple):
    """A question about the run `job`@`number`, by its number.

    Its occurrence is to be remembered for `keep` s; `found`: what of it is this host's already.
    """

    claim: Claim
    number: int
    question: int
    keep: int
    found: Mapping[str, Found]

    @property
    def name(self) -> Name:
        """The name of what is claimed."""
        return self.claim.job, self.claim.key


class GiveBack(NamedTuple):
    """The end of what was granted in this name; `state`: of its occurrence."""

    name: Name
    state: str


class Publish(NamedTuple):
    """The definition of a job that counts from now on, if it was that `before`."""

    job: str
    spec: str
    before: str

    @property
    def name(self) -> Name:
        """The name of what is published."""
        return self.job, ""


Request = Ask | GiveBack | Publish


class Batch(NamedTuple):
    """Requests that go to etcd at once, with the number of parts that each has; `era`: when those were the first."""

    message: Message
    sizes: list[int]
    era: int


class Conversation:
    """Of one scheduler and etcd, by way of a session.  `outbox`: what the scheduler is told."""

    def __init__(self) -> None:
        self.outbox: list[Line] = []
        self.reason = _UNREACHED
        """The reason why nothing can be asked; "": it can."""
        self.revision = 0
        """That up to which all is known."""
        self.is_outdated = False
        """Whether what has changed can't be known but by another snapshot."""
        self.keep = 0
        """Seconds for which occurrences have to be remembered."""
        self.newest: tuple[int, Ask] | None = None
        """The newest occurrence that was granted, and not this host's before, with its fence."""
        self.until = 0
        """The instant (ns, BOOTTIME) until which locks are this host's, if nothing is heard of it."""
        self._session: Session
        self._requests = deque[Request]()
        self._names = Counter[Name]()
        """Those of the requests."""
        self._era = 0
        self._granted = set[Name]()
        self._locks = dict[str, Found]()
        self._held = defaultdict[Name | str, set[str]](set)
        """The keys of locks by who has them: a name of this host, or another's holder in words."""
        self._others = set[str]()
        """Holders that were told of before the snapshot that is under way."""

    # the scheduler

    def hello(self) -> None:
        """A scheduler has begun, which knows nothing, and has asked nothing yet."""
        self._drop()
        self.outbox.clear()
        self.reason, self.keep = _UNREACHED, 0

    def ask(
        self, job: str, number: int, question: int, key: str, locks: Collection[str], keep: int, spec: str
    ) -> None:  # fmt: skip
        """Take a question; while nothing can be asked, who has asked knows that there is no answer."""
        if not self.reason:
            self.keep = max(self.keep, keep)
            self._take(Ask(Claim(job, key, tuple(locks), spec), number, question, keep, {}))

    def publish(self, job: str, spec: str, before: str) -> None:
        """Take a definition that is to count; while nothing can be asked, whoever has it compares it later."""
        if not self.reason:
            self._take(Publish(job, spec, before))

    def give_back(self, job: str, key: str, state: str) -> None:
        """Take the end of what was granted; while nothing can be asked it is asked for later (`ours`)."""
        if not self.reason:
            self._take(GiveBack((job, key), state))

    # etcd

    def rest(self, reason: str) -> None:
        """Let nothing be asked from now on, until the next snapshot."""
        if reason != self.reason:
            self.outbox.append(["up", reason])
        self.reason = reason
        self._drop()

    @property
    def wants(self) -> bool:
        """Tell whether there is something to be done in etcd: a snapshot, or requests."""
        return bool(self.reason or self.is_outdated or self._requests)

    @property
    def holds(self) -> bool:
        """Tell whether this host has locks."""
        return any(isinstance(owner, tuple) for owner in self._held)

    def begin(self, session: Session) -> int:
        """Begin with a snapshot, whose parts follow; its era."""
        self._drop()
        self._session, self.is_outdated = session, False
        self._others.update(owner for owner in self._held if isinstance(owner, str))
        self._locks.clear()
        self._held.clear()
        return self._era

    def read(self, era: int, revision: int, found: Mapping[str, Found]) -> None:
        """Take a part of the snapshot of that era, all of one revision."""
        if era != self._era:
            return
        self.revision = revision
        for key, known in found.items():
            if key.startswith(_LOCKS):
                self._locks[key] = known
                self._held[self._owner(known.value)].add(key)
            elif key.startswith(_RUNS):
                self._tell_of_occurrence(key, known)
            elif key.startswith(_JOBS):
                self._tell_spec(key.removeprefix(_JOBS), known)

    def complete(self, era: int) -> bool:
        """Let the scheduler ask, as it was told all; False: another has come meanwhile, who knows nothing."""
        if era != self._era:
            return False
        self._tell_of(*self._others, *self._held)
        self._others.clear()
        self.reason = ""
        self.outbox.append(["up", ""])
        return True

    def watched(self, events: Iterable[Message], revision: int) -> None:
        """Take what has changed, up to this revision."""
        changed = list[Name | str]()
        for event in events:
            kv = event["kv"]
            key, known = text(kv["key"]), None if event.get("type") == "DELETE" else claims.kept(kv)
            if key.startswith(_LOCKS):
                changed += self._note(key, known, int(kv["mod_revision"]))
            elif key.startswith(_RUNS) and known is not None:
                self._tell_of_occurrence(key, known)
            elif key.startswith(_JOBS):
                self._tell_spec(key.removeprefix(_JOBS), known)
        self._tell_of(*changed)
        self.revision = max(self.revision, revision)

    def next_batch(self, leases: Mapping[str, int], keep: int) -> Batch | None:
        """The requests that are first, as one transaction; None: there is none that has enough of `keep`.

        The lease of occurrences ("run") lasts for so many seconds.

        No key and no name is in it twice: none of them sees what another has written, and etcd refuses two such writes.
        """
        parts, sizes, seen = list[Message](), list[int](), set[str | Name]()
        for request in self._requests:
            touched = self._touched(request)
            made = self._transactions(request, leases)
            read = {(request.name[0], "")}  # a definition that is published
            if isinstance(request, Ask) and request.keep > keep:
                break
            if seen & (touched | read) or (parts and len(parts) + len(made) > claims.MOST):
                break
            seen |= touched
            parts += made
            sizes.append(len(made))
        return Batch(claims.batch(parts), sizes, self._era) if sizes else None

    def answered(self, batch: Batch, answer: Message) -> None:
        """Take the answer to a batch; one to requests that were dropped meanwhile is nobody's."""
        revision, parts = claims.revision(answer), claims.answers(answer)
        again = list[Ask]()
        for size in batch.sizes:
            if batch.era != self._era:
                return
            request = self._requests.popleft()
            own, parts = parts[:size], parts[size:]
            if isinstance(request, GiveBack):
                self._granted.discard(request.name)
            elif isinstance(request, Ask) and (repeated := self._hear(request, own[0], revision)) is not None:
                again.append(repeated)
                continue
            self._names[request.name] -= 1
            if not self._names[request.name]:
                del self._names[request.name]
        self._requests.extendleft(reversed(again))

    def _hear(self, ask: Ask, answer: Message, revision: int) -> Ask | None:
        """Tell what an answer means; or what to ask again."""
        outcome = claims.outcome(ask.claim, self._session, ask.found, answer, revision)
        told = [ask.claim.job, ask.number, ask.question]
        match outcome:
            case Granted(fence):
                self._granted.add(ask.name)
                if ask.claim.run is not None and ask.claim.run not in ask.found:
                    self.newest = fence, ask
                for key, value in ask.claim.values(self._session.store).items():
                    if key.startswith(_LOCKS):
                        known = ask.found.get(key) or Found(value, revision, revision)
                        self._tell_of(*self._note(key, known, revision))
                self.outbox.append(["granted", *told, fence, self.until if ask.claim.locks else 0])
            case Taken():
                self.outbox.append(["taken", *ask.name])
            case Denied(key, found):
                if revision > self.revision:  # else the watch has told of that, and maybe of what came after
                    self._tell_of(*self._note(key, found, found.modified))
                self.outbox.append(["denied", *told])
            case Stale(definition):
                self._tell_spec(ask.claim.job, definition)
                self.outbox.append(["denied", *told])
            case SessionOver():
                self.rest("etcd was not reached in time, so that the session of this host is over")
            case Again(known):
                return ask._replace(found=known)
        return None

    # requests

    def _take(self, request: Request) -> None:
        self._requests.append(request)
        self._names[request.name] += 1

    def _drop(self) -> None:
        self._era += 1
        self._requests.clear()
        self._names.clear()
        self._granted.clear()

    def _touched(self, request: Request) -> set[str | Name]:
        """The name of a request, and the keys that it is about."""
        if isinstance(request, Ask):
            return {request.name, *request.claim.values("")}
        return {request.name, *self._held.get(request.name, ())}

    def _transactions(self, request: Request, leases: Mapping[str, int]) -> list[Message]:
        if isinstance(request, Ask):
            return [claims.transaction(request.claim, self._session, request.found, leases)]
        if isinstance(request, Publish):
            return [claims.publication(*request)]
        locks = [(key, self._locks[key]) for key in sorted(self._held.get(request.name, ()))]
        return claims.end(*request.name, self._session.store, request.state, locks)

    # what is known

    def _owner(self, value: str) -> Name | str:
        """The name for which a lock is this host's; or another's holder in words: a job has a lock once on a host."""
        store, _, name = value.partition(" ")
        job, _, key = name.partition(" ")
        return (job, key) if store == self._session.store else f"{job} on {store.partition(':')[0]}"

    def _note(self, key: str, known: Found | None, modified: int) -> list[Name | str]:
        """Take over what a lock is by now; whose it was, and is; what is older than what is known is not taken."""
        before = self._locks.get(key)
        if before is not None and before.modified >= modified:
            return []
        changed = list[Name | str]()
        if before is not None:
            changed.append(owner := self._owner(before.value))
            self._held[owner].discard(key)
            if not self._held[owner]:
                del self._held[owner]
            del self._locks[key]
        if known is not None:
            changed.append(owner := self._owner(known.value))
            self._held[owner].add(key)
            self._locks[key] = known
        return changed

    def _tell_of(self, *owners: Name | str) -> None:
        """Tell what others have by now; or of this host, that it has something, unless an answer tells that."""
        for owner in dict.fromkeys(owners):
            locks = self._held.get(owner, ())
            if isinstance(owner, str):
                self.outbox.append(["held", owner, sorted(key.removeprefix(_LOCKS) for key in locks)])
            elif locks:
                self._tell_ours(owner)

    def _tell_of_occurrence(self, key: str, known: Found) -> None:
        found = _OCCURRENCE.fullmatch(key)
        if found is None:  # nobody of the fleet has made it
            return
        job, second = found.groups()
        if known.value == self._session.store:
            self._tell_ours((job, f"f{second}"))
        else:
            self.outbox.append(["taken", job, f"f{second}"])

    def _tell_spec(self, job: str, known: Found | None) -> None:
        self.outbox.append(["spec", job, "" if known is None else known.value])

    def _tell_ours(self, name: Name) -> None:
        if name not in self._granted and not self._names[name]:
            self.outbox.append(["ours", *name])
