"""The other hosts of a fleet, and what they have begun: whoever is not heard of for too long has lost it.  Pure.

An occurrence is known from the watch, or from when all were looked through; that it is over may have been missed.  So
what is lost by this is only a reason to ask etcd, which decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from jobqueued.child.fleet import values
from jobqueued.child.fleet.claims import Found, Loss, attempt_of, next_attempt
from jobqueued.child.fleet.known_locks import Name
from jobqueued.child.fleet.lines import Line
from jobqueued.child.tuples import NamedTuple

_TTL, _MOST_GRACE = 10, 86_400
"""Seconds after which a host that is not heard of has no session, and for which it has its locks at most."""
_MOST_OPEN = 20_000
"""Occurrences that others have begun, as far as they are known; of more the oldest are forgotten."""


class Lost(NamedTuple):
    """An occurrence that was begun, by the name in which it may be claimed now, and whose it was."""

    name: Name
    host: str


class Others:
    """The hosts that have a session, and the occurrences of others that are not over.

    `patience`: for how long (ns) a host without a session still has what it has begun; longer, if it has announced that
    of itself.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._hosts = dict[str, tuple[str, int]]()
        """By the names of the hosts, who each is, and the revision that made its key."""
        self._stores = dict[Name, str]()
        self._open, self._told = defaultdict[str, set[Name]](set), defaultdict[str, set[Name]](set)
        """The occurrences that are not over, by whose they are: those that were told as lost apart from the others."""
        self._patiences = dict[str, int]()
        """The patience (ns) with those that have a greater `lock_grace`."""
        self._gone = dict[str, int]()
        """Until when (BOOTTIME, ns) hosts without a session still have what they have begun."""

    def clear(self) -> None:
        """Begin anew: whoever can't ask etcd can't tell either who else could not."""
        self._gone.clear()
        for store in [*self._told]:
            self._take_back(store)

    def _take_back(self, store: str) -> None:
        """Have told nothing of what a host has begun."""
        if told := self._told.pop(store, None):
            self._open[store] |= told

    def note_host(self, name: str, known: Found | None) -> Line:
        """Take over that a host has a session, or has none any more; what the scheduler is told."""
        self._hosts.pop(name, None)
        if known is None or (host := values.parsed(values.Host, known.value)) is None:
            return ["host", name, "", [], False, ""]
        self._hosts[name] = host.store, known.created
        self._patiences.pop(host.store, None)
        common = values.parsed(values.Common, host.common)
        if common is not None and (own := _patience_of(common)) > self._patience:
            self._patiences[host.store] = own
        self._gone.pop(host.store, None)
        self._take_back(host.store)
        labels = [] if host.labels == "-" else host.labels.split(",")
        return ["host", name, host.store, labels, host.standing == "held", host.common]

    def note_run(self, name: Name, value: str) -> None:
        """Take over the value of an occurrence; one that is over, or "", is nobody's any more."""
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
        """The loss that lets an occurrence be claimed in a name; None: it is no further attempt."""
        if (before := _before(name)) is None:
            return None
        store = self._stores.get(before, "")
        whose, created = self._hosts.get(store.partition(":")[0], ("", 0))
        return Loss(before[1], "" if whose == store else store, created)

    def note_before(self, name: Name, value: str) -> None:
        """Take over the value of what could not be claimed in this name, as it was not lost."""
        if (before := _before(name)) is not None:
            self.note_run(before, value)

    @property
    def deadline(self) -> int | None:
        """The instant at which something is lost."""
        return min((until for store, until in self._gone.items() if store in self._open), default=None)

    def lost(self, now: int) -> Iterator[Lost]:
        """Yield what is lost by now, once; from now on the time counts of those that have just gone."""
        present = {store for store, _ in self._hosts.values()}
        for store in sorted(self._open.keys() - present):
            if self._gone.setdefault(store, now + self._patiences.get(store, self._patience)) <= now:
                self._told[store] |= (over := self._open.pop(store))
                yield from (Lost((job, next_attempt(key)), store.partition(":")[0]) for job, key in sorted(over))
        for store in self._gone.keys() - self._open.keys() - self._told.keys():
            del self._gone[store]


def _patience_of(common: values.Common) -> int:
    """For how long (ns) a host that has this `lock_grace` has what it has begun without a session."""
    return (min(common.lock_grace, _MOST_GRACE) - _TTL) * 1_000_000_000


def _before(name: Name) -> Name | None:
    """The attempt before one; None: it is the first, or is no occurrence of the fleet."""
    job, key = name
    before = attempt_of(key).before if key.startswith("f") else None
    return None if before is None else (job, before)
