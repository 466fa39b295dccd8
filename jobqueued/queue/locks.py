"""The lock manager: all claims of a run are granted at once or not at all, so no deadlock is possible.

The class `Claim` covers everything that a run may wait for: the host, a slot of `max_running`, named locks, lock files,
CPU, memory and named resources. A resource has units (one by default). A claim takes some units, or the whole resource
(`exclusive`, without any other holder), or no unit (a share, which only excludes exclusive holders).

The lock manager works in memory and saves nothing. Claims belong to live runs. Therefore, after a crash, the scheduler
first re-grants claims to the live runs that it finds, before it admits other runs.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from jobqueued.model.fleet import FLEET, Part
from jobqueued.model.job import Claim, Job, Scope
from jobqueued.model.run import Holder
from jobqueued.model.users import budget_of

HOST, SLOT = ":host", ":max_running"
"""Names of the host and of a slot; no lock or resource can have them, because they begin with a colon, as `FLEET`
does.
"""
TAG = ":tag:"
"""Prefix of a claim on one of the runs that may be live with a tag."""
PLACES = f"{FLEET}job/"
"""Prefix of a claim on one of a job's places in the fleet; a job has as many places as runs that may be live."""

Claims = tuple[Claim, ...]

_SHARE_OF_HOST, _ALL_OF_HOST, _ONE_SLOT = Claim(HOST), Claim(HOST, exclusive=True), Claim(SLOT, 1)


def claims_of(job: Job, *, slots: bool, tags: Container[str] = ()) -> Claims:
    """Return the claims that each run of a job needs.

    `slots`: whether the host has a `max_running`. `tags`: the tags with a limit of live runs, which only the host's
    jobs share.
    """
    host = _ALL_OF_HOST if job.exclusive else _SHARE_OF_HOST
    place = (_place(job),) if job.scope is Scope.FLEET else ()
    limited = [tag for tag in dict.fromkeys(job.tags) if tag in tags and not budget_of(job.id)]
    of_tags = (Claim(f"{TAG}{tag}", 1) for tag in limited)
    return (host, *((_ONE_SLOT,) if slots else ()), *of_tags, *job.locks, *job.resources, *place)


def _place(job: Job) -> Claim:
    """Return the claim on one of a job's places in the fleet."""
    name = f"{PLACES}{job.id}"
    return Claim(name, exclusive=True) if job.concurrency == 1 else Claim(name, 1)


def places_of(job: Job) -> dict[str, int]:
    """Return {name of the claim on a place: number of a job's places in the fleet}, or {} if the job has at most one
    place.
    """
    return {_place(job).resource: job.concurrency} if job.scope is Scope.FLEET and job.concurrency > 1 else {}


def asks_fleet(job: Job) -> bool:
    """Return whether a job's runs need the fleet's grant."""
    return job.scope is Scope.FLEET or bool(of_fleet(job.locks))


def of_fleet(claims: Claims) -> Claims:
    """Return the claims that the fleet must grant, in addition to this host."""
    return tuple(claim for claim in claims if claim.resource.startswith(FLEET))


def may_ask_too_much(job: Job) -> bool:
    """Return whether a job may request claims that a host does not have; each host has at least one unit of each
    lock.
    """
    return asks_fleet(job) or bool(job.resources) or any(claim.units > 1 for claim in job.locks)


def least_claims(*, slots: bool) -> Claims:
    """Return the claims that every run needs."""
    return (_SHARE_OF_HOST, *((_ONE_SLOT,) if slots else ()))


class _Use:
    """The taken part of one resource, and its holders."""

    __slots__ = ("alone", "holders", "units")

    def __init__(self) -> None:
        self.units = self.alone = 0
        self.holders: dict[Holder, Claim] = {}


_NOBODY = _Use()


class Locks:
    """The holders of all claims.  `capacity`: resource → units; any other resource has 1."""

    def __init__(self, capacity: Mapping[str, int]) -> None:
        self.capacities = dict(capacity)
        """Resource → units, for resources that do not have exactly one."""
        self._used: dict[str, _Use] = {}
        self._held: dict[Holder, Claims] = {}

    def missing(self, claims: Claims, beside: Locks | None = None) -> Claim | None:
        """Return the first claim that can't be granted now, or None if all can; claims held in `beside` also count as
        held.
        """
        used, too = self._used, {} if beside is None else beside._used
        for claim in claims:
            resource, units, exclusive = claim
            here, there = used.get(resource), too.get(resource)
            if here is None and there is None:
                if units > self.capacities.get(resource, 1):
                    return claim
                continue
            here, there = here or _NOBODY, there or _NOBODY
            if exclusive or here.alone or there.alone:  # each holder has a part of the resource
                return claim
            if units and here.units + there.units + units > self.capacities.get(resource, 1):
                return claim
        return None

    def all_missing(self, claims: Claims) -> list[Claim]:
        """Return the claims that can't be granted now."""
        return [claim for claim in claims if self.missing((claim,)) is not None]

    def impossible(self, claims: Claims) -> Claim | None:
        """Return the first claim for more units than exist, or None if all claims are possible."""
        return next((claim for claim in claims if claim.units > self.capacities.get(claim.resource, 1)), None)

    def grant(self, holder: Holder, claims: Claims, *, found: bool = False) -> bool:
        """Grant `holder` all `claims` or none; return whether they were granted.

        A holder that was `found` alive gets its claims even beyond the current capacity. Raises ValueError if `holder`
        already holds claims.
        """
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
        """Release all claims of `holder`."""
        for claim in self._held.pop(holder):
            use = self._used[claim.resource]
            use.units -= claim.units
            use.alone -= claim.exclusive
            del use.holders[holder]
            if not use.holders:
                del self._used[claim.resource]

    def holders(self, resource: str) -> list[Holder]:
        """Return all holders of a resource, in the order of the grants."""
        return list(self._used.get(resource, _NOBODY).holders)

    def held(self, holder: Holder) -> Claims:
        """Return the claims of a holder. Raises KeyError if the holder has no claims."""
        return self._held[holder]

    def give_places(self, job: Job) -> None:
        """Set how many runs of a job may be live in the fleet, according to its definition."""
        self.take_places(job.id)
        self.capacities.update(places_of(job))

    def take_places(self, job: str) -> None:
        """Forget how many runs of a job may be live in the fleet."""
        self.capacities.pop(f"{PLACES}{job}", None)

    def parts(self, claims: Claims) -> tuple[Part, ...]:
        """Return claims in the form of a request to the fleet.

        An exclusive claim requests all units or, if it is on a job's place, one unit.
        """
        parts = list[Part]()
        for resource, units, exclusive in claims:
            of = self.capacity(resource)
            alone = 1 if resource.startswith(PLACES) else of
            parts.append(Part(resource, alone if exclusive else units, of))
        return tuple(parts)

    def capacity(self, resource: str) -> int:
        """Return the number of units of a resource."""
        return self.capacities.get(resource, 1)

    def used(self, resource: str) -> int:
        """Return the number of units that are taken."""
        return self._used.get(resource, _NOBODY).units

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._held

    def __iter__(self) -> Iterator[Holder]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def validate(self) -> None:
        """Raise AssertionError unless the units in use are the sum of the held claims."""
        held = {claim.resource for claims in self._held.values() for claim in claims}
        assert held == self._used.keys(), f"{held ^ self._used.keys()}: held and not in use, or in use by nobody"
        for resource, use in self._used.items():
            claims = [claim for held in self._held.values() for claim in held if claim.resource == resource]
            assert len(claims) == len(use.holders), f"{resource}: {claims} are not those of {use.holders}"
            assert use.units == sum(claim.units for claim in claims), f"{resource}: {use.units} units of {claims}"
            assert use.alone == sum(claim.exclusive for claim in claims), f"{resource}: {use.alone} of {claims}"
