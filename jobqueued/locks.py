"""The lock manager: what a run needs while it runs is granted all at once or not at all, so nothing can deadlock.

It decides on plain data; whoever stores claims, and where, is not its business.  Claims belong to live runs: after a
crash the scheduler grants them again to the runs it finds before it admits anything.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

SLOT = "max_running"


class Claim(NamedTuple):
    """`units` of a resource with that name."""

    resource: str
    units: int = 1


class Locks:
    """Who holds what.  A resource without a capacity is unlimited."""

    def __init__(self, capacity: dict[str, int]) -> None:
        self._capacity = dict(capacity)
        self._used: dict[str, int] = {}
        self._held: dict[Hashable, tuple[Claim, ...]] = {}

    def missing(self, claims: tuple[Claim, ...]) -> Claim | None:
        """The first claim that can't be granted now, None: all can."""
        for claim in claims:
            capacity = self._capacity.get(claim.resource)
            if capacity is not None and self._used.get(claim.resource, 0) + claim.units > capacity:
                return claim
        return None

    def grant(self, holder: Hashable, claims: tuple[Claim, ...], *, found: bool = False) -> bool:
        """Give `holder` all of `claims` or nothing; what was `found` alive holds them even beyond today's capacity."""
        if holder in self._held:
            raise ValueError(f"{holder} holds its claims already")
        if not found and self.missing(claims) is not None:
            return False
        for claim in claims:
            self._used[claim.resource] = self._used.get(claim.resource, 0) + claim.units
        self._held[holder] = claims
        return True

    def release(self, holder: Hashable) -> None:
        """Take back all that `holder` has."""
        for claim in self._held.pop(holder):
            self._used[claim.resource] -= claim.units

    def holders(self, resource: str) -> list[Hashable]:
        """Everyone who holds some of it, in the order of the grants."""
        return [holder for holder, claims in self._held.items() if any(c.resource == resource for c in claims)]

    def capacity(self, resource: str) -> int | None:
        """How many units there are; None: no limit."""
        return self._capacity.get(resource)

    def __contains__(self, holder: Hashable) -> bool:
        return holder in self._held

    def __len__(self) -> int:
        return len(self._held)
