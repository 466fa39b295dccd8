"""The locks of the fleet as a host knows them: a copy of what etcd has, by key and by who has it.  Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import ROOT, Found
from jobqueued.child.fleet.values import Holder, parsed
from jobqueued.child.tuples import NamedTuple

LOCKS = f"{ROOT}locks/"

Name = tuple[str, str]
"""A job and a key: what a claim of this host is for."""
Owner = Name | str
"""A name of this host, or another's holder in words."""


class Part(NamedTuple):
    """So many `units` of a lock, `of` those that there are."""

    lock: str
    units: int
    of: int

    def all(self) -> list[str]:
        """The keys of all units that there are."""
        return [f"{LOCKS}{claims.unit(self.lock, number)}" for number in range(1, self.of + 1)]


def lock_of(key: str) -> str:
    """The lock of which a key is a unit."""
    return key.removeprefix(LOCKS).partition(":")[0]


class KnownLocks:
    """The copy of the host `store`; of each key the newest counts."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._found = dict[str, Found]()
        self._held = defaultdict[Owner, set[str]](set)

    def owners(self) -> list[Owner]:
        """All who have something."""
        return [*self._held]

    def others(self) -> list[str]:
        """Those of them that are of other hosts."""
        return [owner for owner in self._held if isinstance(owner, str)]

    @property
    def has_own(self) -> bool:
        """Tell whether this host has locks."""
        return any(isinstance(owner, tuple) for owner in self._held)

    def note(self, key: str, known: Found | None, modified: int) -> list[Owner]:
        """Take over what a unit is by now, if that is not older than what is known; whose it was, and is."""
        before = self._found.get(key)
        if before is not None and before.modified >= modified:
            return []
        changed = list[Owner]()
        if before is not None:
            changed.append(owner := self._owner(before.value))
            self._held[owner].discard(key)
            if not self._held[owner]:
                del self._held[owner]
            del self._found[key]
        if known is not None:
            changed.append(owner := self._owner(known.value))
            self._held[owner].add(key)
            self._found[key] = known
        return changed

    def keys(self, owner: Owner) -> list[tuple[str, Found]]:
        """The keys that somebody has."""
        return [(key, self._found[key]) for key in sorted(self._held.get(owner, ()))]

    def units(self, owner: Owner) -> dict[str, int]:
        """The locks that somebody has, and how much of each."""
        return Counter(map(lock_of, sorted(self._held.get(owner, ()))))

    def spare(self, part: Part, name: Name) -> int:
        """The units that are left if a name has its part; less than 0: it can't, by now."""
        own = self._held.get(name, ())
        return sum(key in own or key not in self._found for key in part.all()) - part.units

    def choose(self, parts: Sequence[Part], name: Name, busy: Collection[object]) -> tuple[str, ...]:
        """The units that make up parts, by their names: those that this name has already, then free ones, from where
        no other host begins to look; others only where these do not do, those last that are `busy`.
        """
        chosen = list[str]()
        for part in parts:
            own = [key for key in sorted(self._held.get(name, ())) if lock_of(key) == part.lock]
            first = sum(self._store.encode()) % part.of
            keys = part.all()
            rest = [key for key in keys[first:] + keys[:first] if key not in own]
            rest.sort(key=lambda key: (key in self._found, key in busy))
            chosen += (own + rest)[: part.units]
        return tuple(key.removeprefix(LOCKS) for key in chosen)

    def _owner(self, value: str) -> Owner:
        """The name for which a unit is this host's; or another's holder in words: a job has a lock once on a host."""
        holder = parsed(Holder, value) or Holder("another host", "somebody", "")
        if holder.store == self._store:
            return holder.job, holder.key
        return f"{holder.job.removeprefix(':')} on {holder.store.partition(':')[0]}"
