"""A host's conversation with its fleet. Pure.

The agent sends requests to etcd in order and in batches, and repeats them if an answer is lost. The scheduler receives
other hosts' claims before their consequences. The host's copy of the locks is a snapshot that the watch updates. An
answer may be newer than the watch, so the keys in answers are also used. For each key, the newest value counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from jobqueued.child.fleet import claims, skips
from jobqueued.child.fleet.claims import (
    FREED,
    NOTHING,
    OVERDUE,
    ROOT,
    SKIPPED,
    FleetClaim,
    Session,
    StoredKey,
    attempt_of,
)
from jobqueued.child.fleet.etcd.values import end_of, pause_in
from jobqueued.child.fleet.etcd.wire import Message, text
from jobqueued.child.fleet.known_locks import LOCKS, KnownLocks, LockUnits, Name, Owner, lock_of
from jobqueued.child.fleet.lines import RETURNED, Line
from jobqueued.child.fleet.lock_queue import Turns
from jobqueued.child.fleet.others import Others
from jobqueued.child.fleet.outgoing import Outgoing
from jobqueued.child.fleet.requests import AskRequest, GiveBackRequest, PauseRequest, PlaceRequest, Plain, RequestBatch
from jobqueued.child.fleet.skips import KnownSkips, Mine, OccurrencesTaken, SkipRequest
from jobqueued.child.fleet.writes import Writes

_HOSTS, _JOBS, _PAUSED, _WAIT = (f"{ROOT}{kind}/" for kind in ("hosts", "jobs", "paused", "wait"))
_REPORTED = (_HOSTS, _PAUSED, OVERDUE, FREED)
_MOST_UNITS = 48
"""Maximum units in a request, because etcd allows 64 operations in each transaction of a batch."""
_OVER = "etcd was unreachable for too long, so this host's session expired"
_UNREACHED = "etcd has not answered yet"


class Conversation:
    """The conversation between a scheduler and etcd in one session. `outbox`: lines for the scheduler.

    Other hosts count a host's live runs as lost when it has had no session for `grace` (ns); on that host they
    continue.
    """

    def __init__(self, grace: int) -> None:
        self.outbox: list[Line] = []
        self.reason = _UNREACHED
        """The reason why requests are refused, or "" if they are accepted."""
        self.revision = 0
        """Latest revision whose changes have all been received."""
        self.is_outdated = False
        """True if another snapshot is needed, because changes were missed."""
        self.keep = 0
        """Time (s) that etcd must remember occurrences."""
        self.until = 0
        """The instant (BOOTTIME, ns) when this host loses its locks unless they are confirmed."""
        self._session = Session("", "", 0)
        self._requests, self._writes = Outgoing(), Writes(self._session)
        self._generation = 0
        """Number of times that all requests were dropped. Snapshots and batches of earlier generations are ignored."""
        self._granted, self._open = set[Name](), set[Name]()
        """Occurrences granted on this connection, and any other unfinished occurrences that this host may have."""
        self._locks, self._skips = KnownLocks(""), KnownSkips({})
        self._turns = Turns()
        self._reported, self._unreported = set[str](), set[str]()
        """`_REPORTED` keys that the scheduler received, and such keys that are not yet in the current snapshot."""
        self._others = set[str]()
        """Holders that were reported to the scheduler before the current snapshot."""
        self._members = Others(grace)

    # lines from the scheduler

    def hello(self) -> None:
        """Start with a new scheduler, which has not yet received or requested anything."""
        self._drop()
        self.outbox.clear()
        self.reason, self.keep = _UNREACHED, 0

    def ask(
        self, now: int, job: str, number: int, question: int, key: str, parts: Sequence[LockUnits], keep: int, spec: str
    ) -> None:
        """Queue a run's request. While requests are refused, drop it: the scheduler was notified.

        During another host's turn, the run waits as if that host had the lock.
        """
        if self.reason:
            return
        own = self._locks.units((job, key))
        if not question:  # a live run keeps the units that it was granted
            parts = [part._replace(units=own.get(part.lock, part.units)) for part in parts]
        claim = FleetClaim(job, key, (), spec, self._members.loss_before((job, key)), is_live=not question)
        is_too_much = sum(part.units for part in parts) > _MOST_UNITS
        if line := ["denied", job, number, question] if is_too_much else self._skips.line_about_claim(claim):
            self.outbox.append(line)
            return
        for part in (part for part in parts if question and part.lock not in own):
            spare = self._locks.spare(part, (job, key))
            if turn := self._turns.lets_pass(part.lock, self._session.host, spare, now):
                self.outbox += [["held", turn, [[part.lock, part.of]]], ["denied", job, number, question]]
                return
        self.keep = max(self.keep, keep)
        skipped = self._skips.newest(job, attempt_of(key).second) if claim.is_first else 0
        self._requests.take(AskRequest(claim, parts, number, question, keep, {}, skipped))

    def skip(self, skip: SkipRequest) -> None:
        """Queue a request to skip occurrences for all hosts.

        While requests are refused, drop it: the scheduler repeats it.
        """
        if line := self._skips.line_about(skip.job, skip.first, skip.last):
            self.outbox.append(line)
        elif not self.reason:
            self.keep = max(self.keep, skip.keep)
            self._requests.take(skip._replace(newest=self._skips.newest(skip.job, skip.first)))

    def want(self, request: Plain) -> None:
        """Queue an announcement, which needs no answer.

        While requests are refused, drop it: the scheduler repeats it.
        """
        if not self.reason:
            self._requests.take(request)

    def give_back(self, now: int, job: str, key: str, state: str) -> None:
        """Queue the return of claims.

        While requests are refused, drop the return: the line `ours` makes the scheduler repeat it. An occurrence that
        this host neither has nor requests can't be returned, but its locks are released.
        """
        name = job, key
        locks = self._locks.units(name)
        is_own = name in self._granted or name in self._open or self._requests.has(name) or locks
        if self.reason or (state == RETURNED and not is_own):
            return
        self._requests.take(GiveBackRequest(name, state))
        for lock in locks:
            self._turns.freed(lock, now)

    # work with etcd

    def suspend(self, reason: str) -> None:
        """Refuse requests from now on, until the next snapshot."""
        if reason != self.reason:
            self.outbox.append(["up", reason])
        self.reason = reason
        self._drop()

    @property
    def wants(self) -> bool:
        """Return whether etcd must be called, for a snapshot or for requests."""
        return bool(self.reason or self.is_outdated or self._requests)

    @property
    def occurrences(self) -> int:
        """Number of occurrences that the next batch may claim."""
        return self._requests.occurrences

    @property
    def holds(self) -> bool:
        """Return whether this host has locks."""
        return self._locks.has_own

    def begin(self, session: Session, last: StoredKey = NOTHING, since: Mapping[str, int] | None = None) -> int:
        """Start a new generation and return its number. Its snapshot follows in parts.

        `last`: the host's previous write. `since`: job → first second whose occurrences are in the snapshot; None if
        the snapshot has no occurrences.
        """
        self._note_made(last)
        self._drop()
        self._session, self._writes, self.is_outdated = session, Writes(session), False
        self._others.update(self._locks.others(), self._turns.clear())
        self._locks, self._skips = KnownLocks(session.store), KnownSkips(since or {})
        self._unreported = set(self._reported)
        return self._generation

    def read(self, generation: int, revision: int, found: Mapping[str, StoredKey]) -> None:
        """Add a part of a generation's snapshot; all parts have the same revision."""
        if generation != self._generation:
            return
        self.revision = revision
        for key, known in found.items():
            if key.startswith(LOCKS):
                self._locks.note(key, known, known.modified)
            elif key.startswith(SKIPPED):
                self._skips.begin(key.removeprefix(SKIPPED), known.modified)
            else:
                self._take_over(key, known)

    def complete(self, generation: int) -> bool:
        """Accept requests after a complete snapshot.

        Return False if another scheduler connected during the snapshot.
        """
        if generation != self._generation:
            return False
        self._report_owners(*self._others, *self._locks.owners())
        self._others.clear()
        for key in sorted(self._unreported):
            self._take_over(key, None)
        for name in sorted(self._open):
            self._report_ours(name)
        self.reason = ""
        self.outbox.append(["up", ""])
        for lock in self._turns.places(self._session.host):
            self._requests.take(PlaceRequest(lock, joins=False))
        return True

    @property
    def deadline(self) -> int | None:
        """The instant (BOOTTIME, ns) when `pass_time` must be called, or None."""
        return min(filter(None, (self._turns.deadline, self._members.deadline)), default=None)

    def pass_time(self, now: int) -> None:
        """Report other hosts' turns that ended, and occurrences that were lost with their hosts."""
        self.outbox += [["held", turn, []] for turn in self._turns.over(now)]
        if not self.reason:
            self.outbox += [["lost", *name, host] for name, host in self._members.lost(now)]

    def swept(self, found: Mapping[str, StoredKey]) -> None:
        """Search a page of occurrences for this host's unfinished occurrences and possibly lost ones."""
        for key, known in found.items():
            name = claims.name_of(key)
            if name is not None and known.value == self._session.store:
                self._report_occurrence(name, known)
            elif name is not None:
                self._members.note_run(name, known.value)

    def watched(self, events: Iterable[Message], revision: int, now: int) -> None:
        """Handle changes that the watch reported, up to this revision."""
        changed = list[Owner]()
        for event in events:
            kv = event["kv"]
            key, known = text(kv["key"]), None if event.get("type") == "DELETE" else claims.kept(kv)
            if key.startswith(LOCKS):
                changed += self._locks.note(key, known, int(kv["mod_revision"]))
                if known is None:
                    self._turns.freed(lock_of(key), now)
            else:
                self._take_over(key, known)
        self._report_owners(*changed)
        self.revision = max(self.revision, revision)

    def next_batch(self, leases: Mapping[str, int], keep: int) -> RequestBatch | None:
        """Return the first requests as a transaction (outgoing.py), or None if no request may be sent."""
        return self._requests.batch(self._writes, self._locks, leases, keep, self._generation)

    def answered(self, batch: RequestBatch, answer: Message) -> None:
        """Handle the answer to a batch. Ignore answers to requests that were dropped after they were sent."""
        if not answer.get("succeeded"):
            self._not_next(batch.generation, claims.read(answer))
            return
        revision, parts = claims.revision(answer), claims.answers(answer)
        self._writes.carried_out(revision)
        again = list[AskRequest | SkipRequest | GiveBackRequest]()
        for size, touched in batch.parts:
            if batch.generation != self._generation:
                return
            request = self._requests.take_first()
            own, parts = parts[:size], parts[size:]
            if isinstance(request, GiveBackRequest):
                self._note_releases(touched, own, revision)
                self._granted.discard(request.name)
                (self._open.discard if request.state else self._leave_open)(request.name)
                if any(key not in touched for key, _ in self._locks.keys(request.name)):
                    again.append(request)  # the watch reported the lock only after this request was sent
            elif (
                isinstance(request, AskRequest)
                and (repeated := self._handle_answer(request, own[0], revision)) is not None
            ):
                again.append(repeated)
            elif isinstance(request, SkipRequest) and (more := self._handle_skip(request, own[0])) is not None:
                again.append(more)
            elif isinstance(request, Plain):
                self._report_made(request)
        for each in reversed(again):
            self._requests.put_first(each)

    def _note_releases(self, touched: Collection[str | Name], parts: Sequence[Message], revision: int) -> None:
        """Save which locks a return released. Its first transactions release them, in the order of their keys."""
        locks = sorted(key for key in touched if isinstance(key, str))
        for key, part in zip(locks, parts, strict=False):
            if part.get("succeeded"):
                self._locks.note_release(key, revision)

    def _not_next(self, generation: int, found: Mapping[str, StoredKey]) -> None:
        """Continue after a lost answer: etcd carried out another batch with the same write number."""
        if found.get(self._session.key, NOTHING).created != self._session.created:
            self.suspend(_OVER)
        elif generation == self._generation:
            self._note_made(found.get(self._session.writes, NOTHING))

    def _note_made(self, last: StoredKey) -> None:
        """Record which announcements the last write made. Its other requests are repeated."""
        self._report_made(*self._requests.take_made(self._writes.made(last)))

    def _report_made(self, *made: Plain) -> None:
        awaited = (each for each in made if isinstance(each, PauseRequest) and not each.before)
        self.outbox += [["made", each.job, each.text] for each in awaited]

    def _handle_answer(self, ask: AskRequest, answer: Message, revision: int) -> AskRequest | None:
        """Report the result of a request for claims, or return the request that must be repeated."""
        outcome = claims.outcome(ask.claim, self._session, ask.found, ask.skipped, answer, revision)
        told = [ask.claim.job, ask.number, ask.question]
        match outcome:
            case claims.ClaimGranted(fence):
                self._granted.add(ask.name)
                self._open.discard(ask.name)
                for key, value in ask.claim.values(self._session.store).items():
                    if key.startswith(LOCKS):
                        known = ask.found.get(key) or StoredKey(value, revision, revision)
                        self._report_owners(*self._locks.note(key, known, revision))
                self.outbox.append(["granted", *told, fence, self.until if ask.claim.locks else 0])
            case claims.ClaimTaken(value, before):
                self._open.discard(ask.name)
                self._members.note_before(ask.name, before)
                self._report_taken(ask, value)
            case claims.ClaimDenied(key, found):
                if self._is_refused(ask, key, found, revision):
                    self._report_denied(ask, answer)
                else:
                    return ask._replace(claim=ask.claim._replace(locks=()), found={})
            case claims.Stale(definition):
                self._report_no_spec(ask.claim.job, definition)
                self._report_denied(ask, answer)
            case claims.Paused(who):
                self._take_over(ask.claim.pause, StoredKey(who, revision, revision))
                self._report_denied(ask, answer)
            case claims.SessionOver():
                self.suspend(_OVER)
            case claims.Newer(newest):
                return ask._replace(skipped=newest)
            case claims.ClaimAgain(known):
                return ask._replace(found=known)
        return None

    def _is_refused(self, ask: AskRequest, key: str, found: StoredKey, revision: int) -> bool:
        """Report a lock's holder; return whether too few other units of the lock are free."""
        if revision > self.revision:  # otherwise the watch already reported this value, and possibly later values
            self._report_owners(*self._locks.note(key, found, found.modified))
        return any(self._locks.spare(part, ask.name) < 0 for part in ask.parts)

    def _report_denied(self, ask: AskRequest, answer: Message) -> None:
        """Report that a request is denied, and that this host has its keys if an earlier copy of the request, whose
        answer was lost, got them.
        """
        self.outbox.append(["denied", ask.claim.job, ask.number, ask.question])
        now = claims.read(answer)
        own = (now.get(key, NOTHING).value == value for key, value in ask.claim.values(self._session.store).items())
        if ask.question and any(own):
            self._leave_open(ask.name)
            self._report_ours(ask.name)

    def _handle_skip(self, skip: SkipRequest, answer: Message) -> SkipRequest | None:
        """Report the result of a request to skip, or return the request that must be repeated."""
        match skips.outcome(skip, self._session, answer):
            case Mine(first, last) as mine:
                self._skips.note_own(skip.job, mine)
                self.outbox.append(["skipped", skip.job, first, last])
            case OccurrencesTaken(found):
                for key, value in found.items():
                    self._members.note_run((skip.job, key), value)
                    self.outbox.append(["taken", skip.job, key, end_of(value)])
            case claims.Newer(newest):
                return skip._replace(newest=newest)
            case claims.Stale(definition):
                self._report_no_spec(skip.job, definition)
            case claims.SessionOver():
                self.suspend(_OVER)
            case SkipRequest() as again:
                return again
        return None

    def _report_taken(self, ask: AskRequest, value: str) -> None:
        """Report that another host has an occurrence, or that this host skipped it before."""
        job, key = ask.name
        first = claims.first_skipped(value)
        if first is not None and value.startswith(f"{self._session.store} "):
            self.outbox.append(["skipped", job, first, attempt_of(key).second])
        else:
            self.outbox.append(["taken", job, key, end_of(value)])

    # queued requests

    def _drop(self) -> None:
        self._generation += 1
        self._members.clear()
        for name in (*self._granted, *self._requests.drop()):
            self._leave_open(name)
        self._granted.clear()

    def _leave_open(self, name: Name) -> None:
        """Remember that an occurrence may belong to this host."""
        if FleetClaim(*name, ()).run is not None:
            self._open.add(name)

    # the known state of etcd

    def _report_owners(self, *owners: Owner) -> None:
        """Report the locks that these owners hold. Omit this host's locks if an answer will report them."""
        for owner in dict.fromkeys(owners):
            units = self._locks.units(owner)
            if isinstance(owner, str):
                self.outbox.append(["held", owner, list(map(list, units.items()))])
            elif units:
                self._report_ours(owner)

    def _report_occurrence(self, name: Name, known: StoredKey) -> None:
        if known.value == self._session.store:
            if name not in self._granted:
                self._open.add(name)
            if not self.reason:  # otherwise the end of the snapshot reports the locks
                self._report_ours(name)
        else:
            self._open.discard(name)
            self._members.note_run(name, known.value)
            if not known.value.startswith(f"{self._session.store} skipped "):  # the answer to the skip reports it
                self._skips.note(name[0], attempt_of(name[1]).second, known.value)
                self.outbox.append(["taken", *name, end_of(known.value)])

    def _report_no_spec(self, job: str, known: StoredKey | None) -> None:
        if known is None:  # otherwise the watch reports the value after earlier changes
            self._report_spec(job, None)

    def _report_spec(self, job: str, known: StoredKey | None) -> None:
        value, _, revision = known or NOTHING
        self.outbox.append(["spec", job, value, revision])

    def _take_over(self, key: str, known: StoredKey | None) -> None:
        """Handle the current value of a key that is not a lock; None means that the key was deleted."""
        if key.startswith(_JOBS):
            self._report_spec(key.removeprefix(_JOBS), known)
        elif key.startswith(SKIPPED):
            self._skips.note_newest(key.removeprefix(SKIPPED), 0 if known is None else known.modified)
        elif key.startswith(_WAIT):
            self._turns.note(key.removeprefix(_WAIT), None if known is None else known.created)
        elif key.startswith(_REPORTED):
            (self._reported.discard if known is None else self._reported.add)(key)
            self._unreported.discard(key)
            returned = claims.returned_of(key)
            if returned is not None and known is not None and self._skips.is_own(*returned):
                return  # a late event: the occurrence was returned before this host skipped it
            kind, name = key.removeprefix(ROOT).split("/", 1)
            value, _, revision = known or NOTHING
            value = pause_in(value) if known is not None and kind == "paused" else value
            line = [kind, name, value, *[revision] * (kind == "overdue")]
            self.outbox.append(self._members.note_host(name, known) if kind == "hosts" else line)
        elif (occurrence := claims.name_of(key)) is not None and known is not None:
            self._report_occurrence(occurrence, known)
        elif occurrence is not None:
            self._members.note_run(occurrence, "")

    def _report_ours(self, name: Name) -> None:
        if name not in self._granted and not self._requests.has(name):
            self.outbox.append(["ours", *name])
