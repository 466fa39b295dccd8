"""A fleet's other hosts, and the occurrences that they started. Pure.

A host that is unreachable for too long loses its occurrences: other hosts may claim them, while its runs continue. This
host gets occurrences from the watch, or from the sweep through all keys, and may miss their ends. So a loss found here
is only a reason to send a claim to etcd, which decides.
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
"""Time (s) after which an unreachable host loses its session, and maximum time (s) that a host keeps its locks."""
_MOST_OPEN = 20_000
"""Maximum number of other hosts' live occurrences in memory. If there are more, the oldest is forgotten."""


class LostOccurrence(NamedTuple):
    """A lost occurrence: the name that can now claim the occurrence, and the host that had it."""

    name: Name
    host: str


class Others:
    """The hosts with a session, and other hosts' live occurrences.

    `grace`: time (ns) that a host without a session keeps its occurrences, unless the host announced a longer time.
    """

    def __init__(self, grace: int) -> None:
        self._grace = grace
        self._hosts = dict[str, tuple[str, int]]()
        """Host → its store, and the revision that created its key."""
        self._stores = dict[Name, str]()
        self._open, self._told = defaultdict[str, set[Name]](set), defaultdict[str, set[Name]](set)
        """Store → its live occurrences not reported as lost, and its occurrences reported as lost."""
        self._graces = dict[str, int]()
        """Store → grace (ns), for hosts with a greater `lock_grace`."""
        self._gone = dict[str, int]()
        """Store without a session → instant (BOOTTIME, ns) when it loses its occurrences."""

    def clear(self) -> None:
        """Forget which hosts are unreachable. While this host can't call etcd, it can't find out whether they can."""
        self._gone.clear()
        for store in [*self._told]:
            self._take_back(store)

    def _take_back(self, store: str) -> None:
        """Mark a host's lost occurrences as not reported."""
        if told := self._told.pop(store, None):
            self._open[store] |= told

    def note_host(self, name: str, known: StoredKey | None) -> Line:
        """Record that a host has a session, or has none if `known` is None. Return the line for the scheduler."""
        self._hosts.pop(name, None)
        if known is None or (host := values.parsed(values.HostValue, known.value)) is None:
            return ["host", name, "", [], False, ""]
        self._hosts[name] = host.store, known.created
        self._graces.pop(host.store, None)
        common = values.parsed(values.CommonSettings, host.common)
        if common is not None and (own := _grace_of(common)) > self._grace:
            self._graces[host.store] = own
        self._gone.pop(host.store, None)
        self._take_back(host.store)
        labels = [] if host.labels == "-" else host.labels.split(",")
        return ["host", name, host.store, labels, host.condition == "held", host.common]

    def note_run(self, name: Name, value: str) -> None:
        """Save an occurrence's value. No host has an occurrence if its value is "" or includes an end."""
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
        """Return the loss that a claim with this name depends on, or None for a first attempt."""
        if (before := _before(name)) is None:
            return None
        store = self._stores.get(before, "")
        whose, created = self._hosts.get(store.partition(":")[0], ("", 0))
        return Loss(before[1], "" if whose == store else store, created)

    def note_before(self, name: Name, value: str) -> None:
        """Save the previous attempt's value. It was not lost, so this attempt can't be claimed."""
        if (before := _before(name)) is not None:
            self.note_run(before, value)

    @property
    def deadline(self) -> int | None:
        """The instant (BOOTTIME, ns) when the next occurrence is lost, or None."""
        return min((until for store, until in self._gone.items() if store in self._open), default=None)

    def lost(self, now: int) -> Iterator[LostOccurrence]:
        """Yield each lost occurrence once. Start the `grace` time for hosts that just became unreachable."""
        present = {store for store, _ in self._hosts.values()}
        for store in sorted(self._open.keys() - present):
            if self._gone.setdefault(store, now + self._graces.get(store, self._grace)) <= now:
                self._told[store] |= (over := self._open.pop(store))
                yield from (
                    LostOccurrence((job, next_attempt(key)), store.partition(":")[0]) for job, key in sorted(over)
                )
        for store in self._gone.keys() - self._open.keys() - self._told.keys():
            del self._gone[store]


def _grace_of(common: values.CommonSettings) -> int:
    """Return the time (ns) that a host with these settings keeps its occurrences without a session."""
    return (min(common.lock_grace, _MOST_GRACE) - _TTL) * 1_000_000_000


def _before(name: Name) -> Name | None:
    """Return the previous attempt, or None for a first attempt or for a run that is not the fleet's."""
    job, key = name
    before = attempt_of(key).before if key.startswith("f") else None
    return None if before is None else (job, before)
