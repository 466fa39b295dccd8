"""The other hosts of a fleet, and the occurrences that they have started. Pure.

A host that is unreachable for too long loses its occurrences. This host learns of occurrences from the watch, or from
the sweep through all keys, and may miss their ends. So a loss found here is only a reason to ask etcd, which decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet.claims import Loss, StoredKey, attempt_of, next_attempt
from jobqueued.child.fleet.etcd import values
from jobqueued.child.fleet.known_locks import Name
from jobqueued.child.fleet.lines import Line

_TTL, _MOST_GRACE = 10, 86_400
"""Seconds after which an unreachable host has no session; maximum seconds for which a host keeps its locks."""
_MOST_OPEN = 20_000
"""Maximum number of known live occurrences of other hosts; above that the oldest is forgotten."""


class LostOccurrence(NamedTuple):
    """A lost occurrence: the name that can claim it now, and the host that had it."""

    name: Name
    host: str


class Others:
    """The hosts with a session, and the live occurrences of other hosts.

    `patience`: how long (ns) a host without a session keeps its occurrences; a host may have announced a longer time.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._hosts = dict[str, tuple[str, int]]()
        """Host → its store, and the revision that created its key."""
        self._stores = dict[Name, str]()
        self._open, self._told = defaultdict[str, set[Name]](set), defaultdict[str, set[Name]](set)
        """Store → its live occurrences: those not reported as lost, and those reported as lost."""
        self._patiences = dict[str, int]()
        """Store → patience (ns), for hosts with a greater `lock_grace`."""
        self._gone = dict[str, int]()
        """Store without a session → instant (BOOTTIME, ns) until which it keeps its occurrences."""

    def clear(self) -> None:
        """Forget which hosts are unreachable: a host that can't ask etcd does not know which others could."""
        self._gone.clear()
        for store in [*self._told]:
            self._take_back(store)

    def _take_back(self, store: str) -> None:
        """Count a host's lost occurrences as not reported."""
        if told := self._told.pop(store, None):
            self._open[store] |= told

    def note_host(self, name: str, known: StoredKey | None) -> Line:
        """Note that a host has a session; `known` None means that it has none. Return the line for the scheduler."""
        self._hosts.pop(name, None)
        if known is None or (host := values.parsed(values.HostValue, known.value)) is None:
            return ["host", name, "", [], False, ""]
        self._hosts[name] = host.store, known.created
        self._patiences.pop(host.store, None)
        common = values.parsed(values.CommonSettings, host.common)
        if common is not None and (own := _patience_of(common)) > self._patience:
            self._patiences[host.store] = own
        self._gone.pop(host.store, None)
        self._take_back(host.store)
        labels = [] if host.labels == "-" else host.labels.split(",")
        return ["host", name, host.store, labels, host.standing == "held", host.common]

    def note_run(self, name: Name, value: str) -> None:
        """Note the value of an occurrence. "", or a value with an end, means that no host has it."""
        store = "" if values.end_of(value) else value
        if (before := self._stores.pop(name, None)) is not None:
            for known in (self._open, self._told):
                known[before].discard(name)
                if not known[before]:
                    del known[before]
        if store:
            self._stores[name] = store
            self._open[store].add(name)
            if len(self._stores) > _MOST_OPEN:
                self.note_run(next(iter(self._stores)), "")

    def loss_before(self, name: Name) -> Loss | None:
        """Return the loss that a claim of this name depends on, or None if this is a first attempt."""
        if (before := _before(name)) is None:
            return None
        store = self._stores.get(before, "")
        whose, created = self._hosts.get(store.partition(":")[0], ("", 0))
        return Loss(before[1], "" if whose == store else store, created)

    def note_before(self, name: Name, value: str) -> None:
        """Note the value of the attempt before this one. It was not lost, so this one can't be claimed."""
        if (before := _before(name)) is not None:
            self.note_run(before, value)

    @property
    def deadline(self) -> int | None:
        """The instant (BOOTTIME, ns) at which the next occurrence is lost, or None."""
        return min((until for store, until in self._gone.items() if store in self._open), default=None)

    def lost(self, now: int) -> Iterator[LostOccurrence]:
        """Yield each lost occurrence once, and start the time of hosts that have just become unreachable."""
        present = {store for store, _ in self._hosts.values()}
        for store in sorted(self._open.keys() - present):
            if self._gone.setdefault(store, now + self._patiences.get(store, self._patience)) <= now:
                self._told[store] |= (over := self._open.pop(store))
                yield from (
                    LostOccurrence((job, next_attempt(key)), store.partition(":")[0]) for job, key in sorted(over)
                )
        for store in self._gone.keys() - self._open.keys() - self._told.keys():
            del self._gone[store]


def _patience_of(common: values.CommonSettings) -> int:
    """Return how long (ns) a host with this `lock_grace` keeps its occurrences without a session."""
    return (min(common.lock_grace, _MOST_GRACE) - _TTL) * 1_000_000_000


def _before(name: Name) -> Name | None:
    """Return the attempt before this one, or None if this is the first or not the fleet's."""
    job, key = name
    before = attempt_of(key).before if key.startswith("f") else None
    return None if before is None else (job, before)
