"""The lock manager: what a run needs while it runs is granted all at once or not at all, so nothing can deadlock.

There is one kind of claim for everything a run may wait for: the host, a slot of `max_running`, named locks, lock
files, CPU, memory and named resources.  A resource has units (one, unless it was told); a claim takes some of them, all
of it (`exclusive`: nobody else has any part), or none (a share: anybody but an exclusive holder may have some too).

It decides on plain data; whoever stores claims, and where, is not its business.  Claims belong to live runs: after a
crash the scheduler grants them again to the runs it finds before it admits anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jobqueued.fleet import FLEET, Part
from jobqueued.model import Claim, Holder, Job, Scope

HOST, SLOT = ":host", ":max_running"
"""What no lock or resource can be called, as it begins with a colon; so does `FLEET`."""
PLACES = f"{FLEET}job/"
"""The begin of the name of what a run has for its job in the whole fleet."""

Claims = tuple[Claim, ...]

_SHARE_OF_HOST, _ALL_OF_HOST, _ONE_SLOT = Claim(HOST), Claim(HOST, exclusive=True), Claim(SLOT, 1)


def claims_of(job: Job, *, slots: bool) -> Claims:
    """The claims of each run of a job; `slots`: there is a `max_running`."""
    host = _ALL_OF_HOST if job.exclusive else _SHARE_OF_HOST
    place = (_place(job),) if job.scope is Scope.FLEET else ()
    return (host, *((_ONE_SLOT,) if slots else ()), *job.locks, *job.resources, *place)


def _place(job: Job) -> Claim:
    """The place of a run among those of its job in the whole fleet."""
    name = f"{PLACES}{job.id}"
    return Claim(name, exclusive=True) if job.concurrency == 1 else Claim(name, 1)


def places_of(job: Job) -> dict[str, int]:
    """The units of what runs of a job claim for it, where there are several."""
    return {_place(job).resource: job.concurrency} if job.scope is Scope.FLEET and job.concurrency > 1 else {}


def asks_fleet(job: Job) -> bool:
    """Tell whether runs of a job need what the fleet grants."""
    return job.scope is Scope.FLEET or bool(of_fleet(job.locks))


def of_fleet(claims: Claims) -> Claims:
    """Those of the claims that are granted by the fleet, beside this host."""
    return tuple(claim for claim in claims if claim.resource.startswith(FLEET))


def may_ask_too_much(job: Job) -> bool:
    """Tell whether there may be a host that lacks what runs of a job need: what is there once, each has."""
    return asks_fleet(job) or bool(job.resources) or any(claim.units > 1 for claim in job.locks)


def least_claims(*, slots: bool) -> Claims:
    """The claims that any run has at least."""
    return (_SHARE_OF_HOST, *((_ONE_SLOT,) if slots else ()))


class _Use:
    """The taken part of one resource, and its holders."""

    __slots__ = ("alone", "holders", "units")

    def __init__(self) -> None:
        self.units = self.alone = 0
        self.holders: dict[Holder, Claim] = {}


_NOBODY = _Use()


class Locks:
    """The holders of all claims.  `capacity`: the units of each resource; of one that it does not name there is 1."""

    def __init__(self, capacity: Mapping[str, int]) -> None:
        self.capacities = dict(capacity)
        """How many units there are of what has not just one."""
        self._used: dict[str, _Use] = {}
        self._held: dict[Holder, Claims] = {}

    def missing(self, claims: Claims, beside: Locks | None = None) -> Claim | None:
        """The first claim that can't be granted now, None: all can; what is held `beside` counts as held too."""
        used, too = self._used, {} if beside is None else beside._used
        for claim in claims:
            resource, units, exclusive = claim
            here, there = used.get(resource), too.get(resource)
            if here is None and there is None:
                if units > self.capacities.get(resource, 1):
                    return claim
                continue
            here, there = here or _NOBODY, there or _NOBODY
            if exclusive or here.alone or there.alone:  # who is here holds some of it
                return claim
            if units and here.units + there.units + units > self.capacities.get(resource, 1):
                return claim
        return None

    def all_missing(self, claims: Claims) -> list[Claim]:
        """Those that can't be granted now."""
        return [claim for claim in claims if self.missing((claim,)) is not None]

    def impossible(self, claims: Claims) -> Claim | None:
        """The first claim for more units than there are, None: all can be granted one day."""
        return next((claim for claim in claims if claim.units > self.capacities.get(claim.resource, 1)), None)

    def grant(self, holder: Holder, claims: Claims, *, found: bool = False) -> bool:
        """Give `holder` all of `claims` or nothing; what was `found` alive holds them even beyond today's capacity."""
        if holder in self._held:
            raise ValueError(f"{holder} holds its claims already")
        if not found and self.missing(claims) is not None:
            return False
        for claim in claims:
            use = self._used.get(claim.resource)
            if use is None:
                use = self._used[claim.resource] = _Use()
            use.units += claim.units
            use.alone += claim.exclusive
            use.holders[holder] = claim
        self._held[holder] = claims
        return True

    def release(self, holder: Holder) -> None:
        """Take back all that `holder` has."""
        for claim in self._held.pop(holder):
            use = self._used[claim.resource]
            use.units -= claim.units
            use.alone -= claim.exclusive
            del use.holders[holder]
            if not use.holders:
                del self._used[claim.resource]

    def holders(self, resource: str) -> list[Holder]:
        """Everyone who holds some of it, in the order of the grants."""
        return list(self._used.get(resource, _NOBODY).holders)

    def held(self, holder: Holder) -> Claims:
        """The claims of a holder; KeyError: it is none."""
        return self._held[holder]

    def give_places(self, job: Job) -> None:
        """Let as many runs of a job be live in the fleet as its definition says by now."""
        self.take_places(job.id)
        self.capacities.update(places_of(job))

    def take_places(self, job: str) -> None:
        """Forget how many runs of a job may be live in the fleet."""
        self.capacities.pop(f"{PLACES}{job}", None)

    def parts(self, claims: Claims) -> tuple[Part, ...]:
        """Word claims as the fleet is asked for them: who wants one alone wants all its units, or the first place."""
        parts = list[Part]()
        for resource, units, exclusive in claims:
            of = self.capacity(resource)
            alone = 1 if resource.startswith(PLACES) else of
            parts.append(Part(resource, alone if exclusive else units, of))
        return tuple(parts)

    def capacity(self, resource: str) -> int:
        """The number of units that there are."""
        return self.capacities.get(resource, 1)

    def used(self, resource: str) -> int:
        """The number of units that are taken."""
        return self._used.get(resource, _NOBODY).units

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._held

    def __iter__(self) -> Iterator[Holder]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def validate(self) -> None:
        """AssertionError unless what is used is the sum of what is held, and who is alone is alone."""
        held = {claim.resource for claims in self._held.values() for claim in claims}
        assert held == self._used.keys(), f"{held ^ self._used.keys()}: held and not in use, or in use by nobody"
        for resource, use in self._used.items():
            claims = [claim for held in self._held.values() for claim in held if claim.resource == resource]
            assert len(claims) == len(use.holders), f"{resource}: {claims} are not those of {use.holders}"
            assert use.units == sum(claim.units for claim in claims), f"{resource}: {use.units} units of {claims}"
            assert use.alone == sum(claim.exclusive for claim in claims), f"{resource}: {use.alone} of {claims}"
