"""This host's copy of the fleet's lock keys in etcd, by key and by holder. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import ROOT, StoredKey
from jobqueued.child.fleet.etcd.values import Holder, parsed

LOCKS = f"{ROOT}locks/"

Name = tuple[str, str]
"""A job and a key, which identify one of this host's claims."""
Owner = Name | str
"""The name of this host's claim, or the description of a holder on another host."""


class LockUnits(NamedTuple):
    """A request for `units` of a lock that has `of` units."""

    lock: str
    units: int
    of: int

    def all(self) -> list[str]:
        """Return the keys of all the lock's units."""
        return [f"{LOCKS}{claims.unit(self.lock, number)}" for number in range(1, self.of + 1)]


def lock_of(key: str) -> str:
    """Return the lock of a unit's key."""
    return key.removeprefix(LOCKS).partition(":")[0]


class KnownLocks:
    """The copy on the host whose identity is `store`. For each key, the newest value counts."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._found = dict[str, StoredKey]()
        self._held = defaultdict[Owner, set[str]](set)
        self._released = dict[str, int]()
        """Units that this host released, and the revisions of that. The watch has not reported them yet."""

    def owners(self) -> list[Owner]:
        """Return all holders."""
        return [*self._held]

    def others(self) -> list[str]:
        """Return the holders on other hosts."""
        return [owner for owner in self._held if isinstance(owner, str)]

    @property
    def has_own(self) -> bool:
        """Return whether this host has locks."""
        return any(isinstance(owner, tuple) for owner in self._held)

    def note(self, key: str, known: StoredKey | None, modified: int) -> list[Owner]:
        """Save a unit's value, unless a newer value is saved. Return the previous and the current holder."""
        if modified < self._released.get(key, 0):
            return []
        self._released.pop(key, None)
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

    def note_release(self, key: str, revision: int) -> None:
        """Save that this host released a unit, which the watch reports later."""
        if self.note(key, None, revision):
            self._released[key] = revision

    def keys(self, owner: Owner) -> list[tuple[str, StoredKey]]:
        """Return the keys of a holder."""
        return [(key, self._found[key]) for key in sorted(self._held.get(owner, ()))]

    def units(self, owner: Owner) -> dict[str, int]:
        """Return lock → number of units that a holder has."""
        return Counter(map(lock_of, sorted(self._held.get(owner, ()))))

    def spare(self, part: LockUnits, name: Name) -> int:
        """Return the number of units free after a name gets its part (negative if too few are free)."""
        own = self._held.get(name, ())
        return sum(key in own or key not in self._found for key in part.all()) - part.units

    def choose(self, parts: Sequence[LockUnits], name: Name, busy: Collection[object]) -> tuple[str, ...]:
        """Return the names of the units to claim for the parts.

        The name's current units come first, then free units, starting at a place that differs by host. If there are too
        few free units, taken units follow. In each group, `busy` units come last.
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
        """Parse a unit's value. Return the name of this host's claim, or describe another host's holder.

        On each host, a job holds a lock at most once.
        """
        holder = parsed(Holder, value) or Holder("another host", "somebody", "")
        if holder.store == self._store:
            return holder.job, holder.key
        return f"{holder.job.removeprefix(':')} on {holder.store.partition(':')[0]}"
