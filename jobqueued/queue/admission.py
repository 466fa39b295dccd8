"""Admission: one ordered pass over the queue grants all that can be granted.

The first run that can't be admitted *reserves* what it needs, as if it had it: lower ones may take what is left.
Further ones that only live runs keep from starting reserve what they have lacked so far and others want too, but no
slot: whoever goes before them needs one too.  A run that has to wait for a reservation itself reserves nothing, as it
could not use it.  Nor does one that lacks what a run of another host of the fleet has.  So nobody overtakes for ever,
and what is not needed yet is not kept idle.

Whoever waits for nothing but a resource that all who want it were refused can change nothing for others, and is parked
(waiting.py), but for who may be the first that reserves.

A lower run that needs what is reserved may still pass (backfill) if it has certainly ended by the time at which the
holders of that have.  Of a holder without `timeout` nobody knows when it ends: then there is no backfill, and after
`drain` the reservation lapses for as long, lest one run stop the host (drains.py).  Before H, the latest such end, the
holders have ended; the first that reserved starts by then, unless a higher one came.

Of a user no more than `most_of_a_user` runs are live at a time.  One that waits for that alone reserves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from heapq import heappop, heapreplace

from jobqueued.child.tuples import NamedTuple
from jobqueued.model import Claim, Holder, LockClientId, RunId
from jobqueued.queue.drains import Drains
from jobqueued.queue.locks import SLOT, Claims, Locks, of_fleet
from jobqueued.queue.waiting import Group, Head, Waiting
from jobqueued.users import budget_of

OUTPUT_DRAIN = 2_000_000_000
"""How long a run may take from its last process's end to its record (ns)."""


_SOMEBODY = LockClientId(0)
USER = ":user"
"""What a run lacks of whose user no more may be live, by its name among refusals."""


class Reservation(NamedTuple):
    """The promise to a run that can't be admitted yet.  `until`: H (monotonic, ns); None: nobody knows."""

    holder: Holder
    group: Group
    rank: int
    claims: Claims
    until: int | None

    def touches(self, claims: Claims) -> bool:
        """Tell whether a run with these claims could delay it."""
        mine = {claim.resource: claim for claim in self.claims}
        return any(_conflict(mine[claim.resource], claim) for claim in claims if claim.resource in mine)


class Lapse(NamedTuple):
    """A run for which others were held back for `drain`, and those it waits for."""

    run: Holder
    holders: list[Holder]


def _conflict(one: Claim, other: Claim) -> bool:
    return one.exclusive or other.exclusive or bool(one.units and other.units)


class Admission:
    """The queue, the lock manager, and when each live run has ended at the latest (monotonic, ns; None: unknown)."""

    def __init__(self, locks: Locks, most_of_a_user: int | None = None) -> None:
        self.locks, self.waiting = locks, Waiting()
        self.most_of_a_user = most_of_a_user
        self._ends: dict[Holder, int | None] = {}
        self._elsewhere = 0
        """How many runs of other hosts there are among those that hold claims."""
        self.drains = Drains()
        self.lapses: list[Lapse] = []
        """The reservations that have lapsed in the last pass: told once while a run waits."""
        self._promises: dict[Holder, int] = {}
        self.refusals: dict[Holder, dict[str | Holder, None]] = {}
        """What kept each run that was ever first of its group: resources, and runs for which one was kept."""
        self.reservations: list[Reservation] = []
        self.look_at: int | None = None
        """When (monotonic, ns) a pass may grant more though nothing has happened; None: never."""

    def hold(self, run: Holder, claims: Claims, ends_at: int | None) -> None:
        """A run is live, with these claims, even beyond today's capacity."""
        self.locks.grant(run, claims, found=True)
        self._wake(claims)
        self._ends[run] = ends_at
        self._count(run, 1)

    def release(self, run: Holder) -> None:
        """It is not any more."""
        self._wake(self.locks.held(run))
        self.locks.release(run)
        del self._ends[run]
        self._count(run, -1)

    def only(self, runs: Iterable[Holder], drain: int | None = None) -> Admission:
        """Copy the queue with some of those that wait, to play it forward.

        `drain`: how long others are held back for each of them, from now on; None: as they are.
        """
        some = Admission(Locks(self.locks.capacities), self.most_of_a_user)
        for holder in self.locks:
            some.hold(holder, self.locks.held(holder), self._ends[holder])
        some.waiting = self.waiting.only(runs, drain)
        some.refusals = {run: {**known} for run, known in self.refusals.items() if run in some.waiting}
        some._promises = {run: until for run, until in self._promises.items() if run in some.waiting}
        some.look_at = self.look_at
        if drain is None:
            some.drains = self.drains.copy()
        return some

    def _wake(self, claims: Claims) -> None:
        """Look again at whoever waits for any of these claims."""
        for claim in claims:
            self.waiting.wake(claim.resource)

    def _count(self, run: Holder, change: int) -> None:
        if isinstance(run, str):
            self._elsewhere += change
        elif share := budget_of(run.job) if isinstance(run, RunId) else "":
            self.waiting.live[share] += change

    def is_full(self, share: str) -> bool:
        """Tell whether no more runs of a user may be live."""
        return bool(share) and self.most_of_a_user is not None and self.waiting.live[share] >= self.most_of_a_user

    def forget(self, holder: Holder) -> None:
        """Take it out of the queue, if it is there."""
        self.waiting.remove(holder)
        self.refusals.pop(holder, None)
        self._promises.pop(holder, None)

    def ends_at(self, run: Holder) -> int | None:
        """The instant (monotonic, ns) by which a live run has ended; None: nobody knows."""
        return self._ends[run]

    def turn(self, mono: int, limit: int, least: int | None = None) -> Iterator[Holder]:
        """Tell whose turn it is, at most `limit`; the caller takes each out of the queue and lets it `hold` its claims.

        `least`: those of less effective priority are not looked at.
        """
        reserved = Locks(self.locks.capacities)
        self.reservations, self.lapses, self.look_at = [], [], None
        self.drains.begin(mono, self.waiting)
        heads, granted, passed_over = self.waiting.heads(mono), 0, False
        refused = defaultdict[str, list[Group]](list)
        while heads and granted < limit:
            load, run, rank, group = heads[0][0], *heads[0][4:]
            if load != self.waiting.load(group) and (anew := self.waiting.head(group, mono)) is not None:
                heapreplace(heads, anew)  # another of this user's runs has just started
                continue
            if least is not None and not group.reaches(least, rank, mono):
                passed_over = True
                self._note_reaching(least, heads if not load else heads[:1])
                if not load:
                    break
                heappop(heads)
                continue
            if self.is_full(group.terms.share):
                self.refusals.setdefault(run, {})[USER] = None
                heappop(heads)
                continue
            if run in self.waiting:
                missing = self.locks.missing(group.terms.claims)
                if missing is not None or not self._may_go_first(group, reserved, mono):
                    self._refused(heappop(heads), missing, reserved, mono)
                    if missing is not None and self._waits_for_that_alone(run, group, missing):
                        refused[missing.resource].append(group)
                    continue
                granted += 1
                yield run
            following = self.waiting.head(group, mono)
            heapreplace(heads, following) if following is not None else heappop(heads)
        self.drains.end(complete=not (heads or passed_over))
        self._look_again(self.drains.look_at)
        self._park(refused)

    def _park(self, refused: dict[str, list[Group]]) -> None:
        """Park those refused a resource, if they are all who want it.

        Of one that others want, too, it has to be known when it is free: else it drains the host (drains.py).
        """
        for resource, groups in refused.items():
            has_an_end = all(self._ends[holder] is not None for holder in self.locks.holders(resource))
            is_free = any(self.locks.missing(group.terms.claims) is None for group in groups)  # by now
            if not is_free and len(groups) == self.waiting.wanted[resource] and (has_an_end or len(groups) == 1):
                self.waiting.park(resource, groups, has_an_end=has_an_end)

    def _waits_for_that_alone(self, run: Holder, group: Group, missing: Claim) -> bool:
        """Tell whether a run was never refused for anything else that it wants, and may get it one day."""
        if group.is_parked or missing.resource != group.only or self.locks.impossible(group.terms.claims) is not None:
            return False
        return self.refusals[run].keys() <= {group.only, SLOT}

    def _may_go_first(self, group: Group, reserved: Locks, mono: int) -> bool:
        """Tell whether a run that lacks nothing may start, for all that is reserved."""
        claims, bound = group.terms.claims, group.terms.bound
        if self.locks.missing(claims, reserved) is None:
            return True
        if bound is None:
            return False
        ends = [promise.until for promise in self.reservations if promise.touches(claims)]
        return all(until is not None and mono + bound <= until for until in ends)

    def _refused(self, head: Head, missing: Claim | None, reserved: Locks, mono: int) -> None:
        *_, run, rank, group = head
        claims = group.terms.claims
        lacked = self._note_refusal(run, claims, missing)
        if missing is None:
            self._note_overtaking(rank, group)
            return
        if reserved.missing(claims) is not None or (group.is_parked and self.reservations):
            return
        if self._waits_for_another_host(claims):
            return
        kept = claims
        if self.reservations:
            kept = tuple(claim for claim in claims if claim.resource in lacked and self._is_for_others(claim.resource))
            if not kept:
                return
        until = self._promised(run, claims)
        if until is None and not self.drains.hold_back(run, group.terms.drain, mono):
            if self.drains.tell(run):
                self.lapses.append(Lapse(run, self.holders(claims)))
            return
        self.reservations.append(Reservation(run, group, rank, kept, until))
        reserved.grant(run, kept)

    def _waits_for_another_host(self, claims: Claims) -> bool:
        """Tell whether a run lacks what a run of another host has: this one is not kept idle for that."""
        if not self._elsewhere:
            return False
        wanted = self.locks.all_missing(of_fleet(claims))
        return any(isinstance(holder, str) for claim in wanted for holder in self.locks.holders(claim.resource))

    def _is_for_others(self, resource: str) -> bool:
        """Tell whether a further run keeps some of a resource from anybody, if it reserves that."""
        return resource != SLOT and self.waiting.wanted[resource] > 1

    def _note_refusal(self, run: Holder, claims: Claims, missing: Claim | None) -> dict[str | Holder, None]:
        known = self.refusals.setdefault(run, {})
        if missing is not None:
            known[missing.resource] = None
        elif promise := next((one for one in self.reservations if one.touches(claims)), None):
            known[promise.holder] = None
        return known

    def _promised(self, run: Holder, claims: Claims) -> int | None:
        """H never grows while a run waits: who backfills must not hold what lets others backfill longer."""
        until, before = self.honoured_by(claims), self._promises.get(run)
        if until is not None:
            until = self._promises[run] = until if before is None else min(until, before)
        return until

    def holders(self, claims: Claims) -> list[Holder]:
        """The live runs that keep a run with these claims from starting."""
        short = self.locks.all_missing(claims)
        return list({holder: None for claim in short for holder in self.locks.holders(claim.resource)})

    def compete(self, claims: Claims, others: Claims) -> bool:
        """Tell whether a run with these claims could not have them beside one that goes first, with others."""
        beside, theirs = Locks(self.locks.capacities), {claim.resource: claim for claim in others}
        beside.grant(_SOMEBODY, others)
        both = [claim for claim in claims if claim.resource in theirs]
        return any(_conflict(one, theirs[one.resource]) and self.locks.missing((one,), beside) for one in both)

    def honoured_by(self, claims: Claims) -> int | None:
        """H: when (monotonic, ns) all that hold what is missing of the claims have ended; None: nobody knows."""
        ends = [self._ends.get(holder) for holder in self.holders(claims)]
        known = [end for end in ends if end is not None]
        return max(known, default=None) if len(known) == len(ends) else None

    def _note_overtaking(self, rank: int, group: Group) -> None:
        """It could start but for those before it: when does it overtake one that ages more slowly?"""
        points, every = group.terms.escalation
        for promise in self.reservations:
            their_points, their_every = promise.group.terms.escalation
            faster = points * their_every - their_points * every
            if faster > 0 and self.waiting.load(promise.group) == self.waiting.load(group):
                self._look_again((rank * their_every - promise.rank * every) // faster + 1)

    def _note_reaching(self, least: int, heads: list[Head]) -> None:
        """Look again when the first of those that are too low has grown enough."""
        for *_, rank, group in heads:
            self._look_again(group.reaching(least, rank))

    def _look_again(self, mono: int | None) -> None:
        if mono is not None:
            self.look_at = mono if self.look_at is None else min(self.look_at, mono)
