"""Admission: one ordered pass over the queue admits the runs whose claims can be granted.

The first run that can't be admitted *reserves* its claims, as if it held them; lower runs may take the rest.

A later run that only live runs keep from starting reserves the resources that it has ever waited for and that other
runs also need. It reserves no slot, because each run before it needs a slot too. A run that waits for a reservation
reserves nothing, because it could not use the claims. A run that waits for a lock held by another host of the fleet
reserves nothing either. With these rules, no run is overtaken forever, and no resource is kept idle before it is
needed.

If all runs that need a resource were refused, a run that waits only for this resource does not affect other runs. This
run is parked (waiting.py), unless it may be the first to reserve.

A lower run that needs reserved claims may still start (backfill) if it certainly ends by H, the latest end of the
current holders. The run that reserved first starts by H, unless a higher run arrives. If a holder has no `timeout`, its
end is unknown, and no backfill is possible. In this case the reservation lapses after `drain`, for an equally long
time, so that one run can't block the host (drains.py).  If the run or a holder is a user's, the reservation also lapses
if H is later than `drain`, because a user's long `timeout` may not hold others back for longer.

At most `most_of_a_user` runs of a user are live at a time, including ended attempts with left processes.  A run that
waits only for this limit reserves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from heapq import heappop, heapreplace

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Claim
from jobqueued.model.run import Holder, LockClientId, RunId
from jobqueued.model.users import budget_of
from jobqueued.queue.drains import Drains
from jobqueued.queue.locks import SLOT, Claims, Locks, of_fleet
from jobqueued.queue.waiting import Group, GroupHead, Waiting

OUTPUT_DRAIN = 2_000_000_000
"""Maximum time (ns) from the end of a run's last process until its record is written."""


_SOMEBODY = LockClientId(0)
USER = ":user"
"""Name of the missing resource in the refusals of a run whose user has too many live runs."""


class Reservation(NamedTuple):
    """A promise to a run that can't be admitted yet; each pass over the queue recreates all reservations.

    `holders_end_by`: the latest expected end of the runs that hold the claims (monotonic, ns), or None if unknown.
    """

    holder: Holder
    group: Group
    rank: int
    claims: Claims
    holders_end_by: int | None

    def touches(self, claims: Claims) -> bool:
        """Return whether a run with these claims could delay the run that has the reservation."""
        mine = {claim.resource: claim for claim in self.claims}
        return any(_conflict(mine[claim.resource], claim) for claim in claims if claim.resource in mine)


class Lapse(NamedTuple):
    """A run whose reservation lapsed after `drain`, and the holders for which the run waits."""

    run: Holder
    holders: list[Holder]


def _share(holder: Holder) -> str:
    return budget_of(holder.job) if isinstance(holder, RunId) else ""


def _conflict(one: Claim, other: Claim) -> bool:
    return one.exclusive or other.exclusive or bool(one.units and other.units)


class Admission:
    """The queue, the lock manager, and the latest end of each live run (monotonic, ns; None if unknown)."""

    def __init__(self, locks: Locks, most_of_a_user: int | None = None) -> None:
        self.locks, self.waiting = locks, Waiting()
        self.most_of_a_user = most_of_a_user
        self._ends: dict[Holder, int | None] = {}
        self.left: set[tuple[RunId, int]] = set()
        """Users' ended attempts that left processes behind. Each counts as live while a process is alive."""
        self._elsewhere = 0
        """Number of runs on other hosts that hold claims."""
        self.drains = Drains()
        self.lapses: list[Lapse] = []
        """The reservations that lapsed in the last pass; each is reported only once while its run waits."""
        self._promises: dict[Holder, int] = {}
        self.refusals: dict[Holder, dict[str | Holder, None]] = {}
        """Run that was ever refused at the head of its group → its obstacles so far: missing resources, and runs with
        reservations.
        """
        self.reservations: list[Reservation] = []
        self.look_at: int | None = None
        """The instant (monotonic, ns) from which a pass may grant more even without an event, or None if there is
        none.
        """

    def hold(self, run: Holder, claims: Claims, ends_at: int | None) -> None:
        """Count a run as live and as the holder of these claims, even beyond the current capacity."""
        self.locks.grant(run, claims, found=True)
        self._wake(claims)
        self._ends[run] = ends_at
        self._count(run, 1)

    def release(self, run: Holder) -> None:
        """Count a run as no longer live, and release its claims."""
        self._wake(self.locks.held(run))
        self.locks.release(run)
        del self._ends[run]
        self._count(run, -1)

    def only(self, runs: Iterable[Holder], drain: int | None = None) -> Admission:
        """Return a copy of the queue with only these runs, to play it forward.

        `drain`: how long (ns) other runs are held back for each of these runs from now on, or None to keep the current
        state.
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
        """Wake the groups that are parked for any of these claims."""
        for claim in claims:
            self.waiting.wake(claim.resource)

    def _count(self, run: Holder, change: int) -> None:
        if isinstance(run, str):
            self._elsewhere += change
        elif share := _share(run):
            self.waiting.live[share] += change

    def note_left(self, run: RunId, attempt: int, *, over: bool) -> bool:
        """Count an ended attempt of a user, with live processes that it left, as live, or no longer with `over`; return
        whether this is new.
        """
        if ((run, attempt) in self.left) is not over:
            return False
        self.left ^= {(run, attempt)}
        self.waiting.live[budget_of(run.job)] += -1 if over else 1
        return True

    def is_full(self, share: str) -> bool:
        """Return whether no more runs of a user may be live."""
        return bool(share) and self.most_of_a_user is not None and self.waiting.live[share] >= self.most_of_a_user

    def forget(self, holder: Holder) -> None:
        """Remove a run or client if it is in the queue."""
        self.waiting.remove(holder)
        self.refusals.pop(holder, None)
        self._promises.pop(holder, None)

    def ends_at(self, run: Holder) -> int | None:
        """Return the latest end of a live run (monotonic, ns), or None if unknown."""
        return self._ends[run]

    def choose(self, mono: int, limit: int, least: int | None = None) -> Iterator[Holder]:
        """Pass over the queue once, and yield at most `limit` runs to admit.

        The caller must remove each run from the queue and call `hold` for its claims.
        `least`: lowest effective priority of runs to admit, or None for any.
        """
        reserved = Locks(self.locks.capacities)
        self.reservations, self.lapses, self.look_at = [], [], None
        self.drains.begin(mono, self.waiting)
        heads, granted, passed_over = self.waiting.heads(mono), 0, False
        refused = defaultdict[str, list[Group]](list)
        while heads and granted < limit:
            load, run, rank, group = heads[0][0], *heads[0][4:]
            if load != self.waiting.share_rank(group) and (anew := self.waiting.head(group, mono)) is not None:
                heapreplace(heads, anew)  # another run of this user just started
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
                if missing is not None or not self._may_pass_reservations(group, reserved, mono):
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
        """Park the groups whose claim on a resource was refused, if no other group needs this resource.

        Several groups are parked only if the ends of all holders are known and no holder is a user's run. Otherwise
        each pass must see them, because they may hold others back (drains.py).
        """
        for resource, groups in refused.items():
            holders = self.locks.holders(resource)
            has_an_end = all(self._ends[holder] is not None and not _share(holder) for holder in holders)
            is_free = any(
                self.locks.missing(group.terms.claims) is None for group in groups
            )  # the resource became free during this pass
            if not is_free and len(groups) == self.waiting.wanted[resource] and (has_an_end or len(groups) == 1):
                self.waiting.park(resource, groups, has_an_end=has_an_end)

    def _waits_for_that_alone(self, run: Holder, group: Group, missing: Claim) -> bool:
        """Return whether this resource, which may become free, is the only obstacle that a run has ever had."""
        if group.is_parked or missing.resource != group.only or self.locks.impossible(group.terms.claims) is not None:
            return False
        return self.refusals[run].keys() <= {group.only, SLOT}

    def _may_pass_reservations(self, group: Group, reserved: Locks, mono: int) -> bool:
        """Return whether a run whose claims are all free may start despite the reservations."""
        claims, bound = group.terms.claims, group.terms.bound
        if self.locks.missing(claims, reserved) is None:
            return True
        if bound is None:
            return False
        ends = [promise.holders_end_by for promise in self.reservations if promise.touches(claims)]
        return all(until is not None and mono + bound <= until for until in ends)

    def _refused(self, head: GroupHead, missing: Claim | None, reserved: Locks, mono: int) -> None:
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
        if self._may_lapse(group, mono) and not self.drains.hold_back(run, group.terms.drain, mono):
            self._promises.pop(run, None)
            if self.drains.reports_lapse(run):
                self.lapses.append(Lapse(run, self.holders(claims)))
            return
        self.reservations.append(Reservation(run, group, rank, kept, until))
        reserved.grant(run, kept)

    def _may_lapse(self, group: Group, mono: int) -> bool:
        """Return whether a reservation of the group's runs would lapse after `drain`."""
        terms = group.terms
        end = self.honoured_by(terms.claims)
        if end is None or end - mono <= terms.drain:
            return end is None
        return any((terms.share, *map(_share, self.holders(terms.claims))))

    def _waits_for_another_host(self, claims: Claims) -> bool:
        """Return whether another host holds one of a run's claims; this host reserves nothing for such a run."""
        if not self._elsewhere:
            return False
        wanted = self.locks.all_missing(of_fleet(claims))
        return any(isinstance(holder, str) for claim in wanted for holder in self.locks.holders(claim.resource))

    def _is_for_others(self, resource: str) -> bool:
        """Return whether a reservation of a resource for one more run would withhold this resource from other runs."""
        return resource != SLOT and self.waiting.wanted[resource] > 1

    def _note_refusal(self, run: Holder, claims: Claims, missing: Claim | None) -> dict[str | Holder, None]:
        known = self.refusals.setdefault(run, {})
        if missing is not None:
            known[missing.resource] = None
        elif promise := next((one for one in self.reservations if one.touches(claims)), None):
            known[promise.holder] = None
        return known

    def _promised(self, run: Holder, claims: Claims) -> int | None:
        """Return when all holders of a run's missing claims have ended (H), or None if unknown.

        H never grows while the run waits. Otherwise, runs that pass by backfill would allow more backfill.
        """
        until, before = self.honoured_by(claims), self._promises.get(run)
        if until is not None:
            until = self._promises[run] = until if before is None else min(until, before)
        return until

    def holders(self, claims: Claims) -> list[Holder]:
        """Return the live runs that keep a run with these claims from starting."""
        short = self.locks.all_missing(claims)
        return list({holder: None for claim in short for holder in self.locks.holders(claim.resource)})

    def compete(self, claims: Claims, others: Claims) -> bool:
        """Return whether a run with these claims and a run with the claims `others` can't be live at the same time."""
        beside, theirs = Locks(self.locks.capacities), {claim.resource: claim for claim in others}
        beside.grant(_SOMEBODY, others)
        both = [claim for claim in claims if claim.resource in theirs]
        return any(_conflict(one, theirs[one.resource]) and self.locks.missing((one,), beside) for one in both)

    def honoured_by(self, claims: Claims) -> int | None:
        """Return H, the instant (monotonic, ns) by which all holders of the missing claims have ended, or None if
        unknown.
        """
        ends = [self._ends.get(holder) for holder in self.holders(claims)]
        known = [end for end in ends if end is not None]
        return max(known, default=None) if len(known) == len(ends) else None

    def _note_overtaking(self, rank: int, group: Group) -> None:
        """Schedule a pass for the instant when a run overtakes another run that has a reservation and ages more slowly.

        Only reservations hold the first run back.
        """
        points, every = group.terms.escalation
        for promise in self.reservations:
            their_points, their_every = promise.group.terms.escalation
            faster = points * their_every - their_points * every
            if faster > 0 and self.waiting.share_rank(promise.group) == self.waiting.share_rank(group):
                self._look_again((rank * their_every - promise.rank * every) // faster + 1)

    def _note_reaching(self, least: int, heads: list[GroupHead]) -> None:
        """Schedule a pass for the instant when the first of these runs, whose priority is too low, has aged enough."""
        for *_, rank, group in heads:
            self._look_again(group.reaching(least, rank))

    def _look_again(self, mono: int | None) -> None:
        if mono is not None:
            self.look_at = mono if self.look_at is None else min(self.look_at, mono)
