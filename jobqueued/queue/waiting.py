"""The order of the queue: the host's runs, then users' runs; among users, those of the user with the fewest live runs;
then highest effective priority, earliest due time, earliest arrival.

Effective priority = priority + points × waited ÷ every. Effective priority is exact, linear and unlimited. Runs on the
same terms keep their order while they wait. Therefore each group of
such runs is a heap, and a pass compares only the heads of the groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Claim, Escalation
from jobqueued.model.run import Holder
from jobqueued.queue.locks import HOST, SLOT, Claims


class Terms(NamedTuple):
    """Everything that decides on a run's admission, except its age and priority.

    `bound`: maximum time (ns) from the run's start until its claims are released, or None if unknown. `drain`: how long
    (ns) other runs are held back for the run while it waits for a holder with an unknown end.  `share`: the share of
    the user who owns the run, or "" for the host.
    """

    claims: Claims
    escalation: Escalation
    bound: int | None
    drain: int
    share: str = ""


_Key = tuple[int, int, int, Holder]

_MANY = 64
_EXACT = 96
"""Number of binary places of a priority: two priorities are equal or differ by at least 1/(every × every) > 2^-94
points.
"""


class Group:
    """The runs on the same terms, by `rank`: points × since − priority × every, which does not change with time."""

    __slots__ = ("heap", "is_parked", "many", "only", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.heap: list[_Key] = []
        others = {claim.resource for claim in terms.claims} - {HOST, SLOT}
        is_plain = not (terms.share or Claim(HOST, exclusive=True) in terms.claims)
        self.only: str | None = others.pop() if len(others) == 1 and is_plain else None
        """The only resource that the group's runs need in addition to a share of the host and a slot, or None; always
        None for users' runs.
        """
        self.is_parked = False
        self.many = _MANY
        """Length of the heap above which its dead entries are dropped."""

    def effective(self, rank: int, mono: int) -> int:
        """Return the effective priority, in 2^-96 points, of a run with this rank at an instant (monotonic, ns)."""
        points, every = self.terms.escalation
        return ((points * mono - rank) << _EXACT) // every

    def reaches(self, priority: int, rank: int, mono: int) -> bool:
        """Return whether a run with this rank has at least this effective priority."""
        points, every = self.terms.escalation
        return points * mono - rank >= priority * every

    def reaching(self, priority: int, rank: int) -> int | None:
        """Return when (monotonic, ns) a run with this rank reaches a priority, or None if the group's runs do not
        age.
        """
        points, every = self.terms.escalation
        return -(-(priority * every + rank) // points) if points else None


GroupHead = tuple[int, int, int, int, Holder, int, Group]
"""A group's first run at an instant: values that order it among other groups (lowest first), the run, its rank, and the
group.
"""


class Waiting:
    """The queue, with a heap for each group of runs.

    When a run leaves the queue or changes its place, a dead entry remains in the heap. A dead entry is dropped when it
    reaches the top. If most entries are dead, all dead entries are dropped, because the first run may wait for days
    while others come and go.

    A group that waits only for one resource is parked while no group can get this resource. `heads` omits a parked
    group, unless it is the first of similar groups. The parked groups of a resource wake when a holder takes or
    releases some of the resource, when another group needs the resource, or when one of the parked groups gets another
    first run.
    """

    def __init__(self) -> None:
        self._groups: dict[Terms, Group] = {}
        self._awake: dict[Terms, Group] = {}
        self._parked: dict[str, list[Group]] = {}
        """Resource → groups that are parked for it."""
        self._firsts: dict[tuple[Escalation, bool], list[tuple[_Key, int, Group]]] = {}
        """Escalation, and whether the awaited end is known → heap of parked groups; some entries are outdated, because
        their groups are awake again.
        """
        self._entries = count()
        self.wanted: Counter[str] = Counter()
        """Resource → number of groups that need it."""
        self._places: dict[Holder, tuple[Group, _Key]] = {}
        self.live: Counter[str] = Counter()
        """User's share → number of live runs."""

    def share_rank(self, group: Group) -> int:
        """Return the first sort key of a group: 0 for the host's runs, or 1 + the user's number of live runs for a
        user's runs.
        """
        share = group.terms.share
        return 1 + self.live[share] if share else 0

    def add(self, run: Holder, terms: Terms, priority: int, since: int, due: int, arrival: int) -> None:
        """Queue a run whose age counts from `since` (monotonic, ns), or move a queued run to its new place."""
        group = self._group(terms)
        points, every = terms.escalation
        key = points * since - priority * every, due, arrival, run
        self.remove(run)
        self._places[run] = group, key
        if group.is_parked and key < group.heap[0]:
            self._wake_group(group)
        heappush(group.heap, key)
        if len(group.heap) > group.many:
            self._drop_dead(group)

    def _group(self, terms: Terms) -> Group:
        """Return the group of runs on these terms; create the group if it is missing."""
        group = self._groups.get(terms)
        if group is None:
            group = self._groups[terms] = self._awake[terms] = Group(terms)
            for claim in terms.claims:
                self.wanted[claim.resource] += 1
                self.wake(claim.resource)
        return group

    def _drop_dead(self, group: Group) -> None:
        """Drop the dead entries of a group."""
        group.heap = [key for key in dict.fromkeys(group.heap) if self._places.get(key[3]) == (group, key)]
        heapify(group.heap)
        group.many = 2 * len(group.heap) + _MANY

    def remove(self, run: Holder) -> None:
        """Remove a run, if it is in the queue."""
        group, key = self._places.pop(run, (None, None))
        if group is not None and group.is_parked and key == group.heap[0]:
            self._wake_group(group)

    def park(self, resource: str, groups: Iterable[Group], *, has_an_end: bool) -> None:
        """Park these groups, which are all groups that need a resource and wait for nothing else.

        `has_an_end`: whether the ends of the resource's holders are known. No group is parked if one of them is no
        longer awake, or if its first entry is dead.
        """
        groups = list(groups)
        if not all(self._awake.get(group.terms) is group and self._is_first_alive(group) for group in groups):
            return
        self._parked[resource] = groups
        for group in groups:
            group.is_parked = True
            del self._awake[group.terms]
            heap = self._firsts.setdefault((group.terms.escalation, has_an_end), [])
            heappush(heap, (group.heap[0], next(self._entries), group))
            if len(heap) > _MANY + 2 * (len(self._groups) - len(self._awake)):
                heap[:] = {entry[2]: entry for entry in heap if self._is_parked_so(entry)}.values()
                heapify(heap)

    def _is_first_alive(self, group: Group) -> bool:
        return bool(group.heap) and self._places.get(group.heap[0][3]) == (group, group.heap[0])

    def wake(self, resource: str) -> None:
        """Wake the groups that are parked for a resource."""
        for group in self._parked.pop(resource, ()):
            group.is_parked = False
            self._awake[group.terms] = group

    @staticmethod
    def _is_parked_so(entry: tuple[_Key, int, Group]) -> bool:
        """Return whether an entry is current: its group is parked and still has this first run."""
        key, _, group = entry
        return group.is_parked and group.heap[0] == key

    @property
    def parked(self) -> list[Group]:
        """The groups that are parked."""
        return [group for groups in self._parked.values() for group in groups]

    def _wake_group(self, group: Group) -> None:
        if group.only is not None:
            self.wake(group.only)

    def _first_parked(self) -> Iterator[Group]:
        """For each kind of similar parked groups, yield the group that goes first."""
        for like, heap in list(self._firsts.items()):
            while heap and not self._is_parked_so(heap[0]):
                heappop(heap)
            if heap:
                yield heap[0][2]
            else:
                del self._firsts[like]

    def head(self, group: Group, mono: int) -> GroupHead | None:
        """Return the first run of a group, or None if the group is empty; drop an empty group."""
        heap, places = group.heap, self._places
        while heap:
            key = heap[0]
            place = places.get(key[3])
            if place is not None and place[0] is group and place[1] == key:
                return self.share_rank(group), -group.effective(key[0], mono), key[1], key[2], key[3], key[0], group
            heappop(heap)
        if self._groups.pop(group.terms, None) is not None:
            del self._awake[group.terms]
            for claim in group.terms.claims:
                self.wanted[claim.resource] -= 1
                if not self.wanted[claim.resource]:
                    del self.wanted[claim.resource]
        return None

    def heads(self, mono: int) -> list[GroupHead]:
        """Return a heap of the first runs of all groups that are awake, and of the parked groups that go first among
        similar groups.
        """
        groups = [*self._awake.values(), *self._first_parked()]
        found = [head for group in groups if (head := self.head(group, mono)) is not None]
        heapify(found)
        return found

    def priority(self, run: Holder, mono: int) -> float:
        """Return the effective priority of a run at an instant.  Raises KeyError if the run is not queued."""
        group, key = self._places[run]
        return group.effective(key[0], mono) / (1 << _EXACT)

    def highest(self, mono: int) -> float | None:
        """Return the effective priority of the first run at an instant, or None if the queue is empty."""
        heads = self.heads(mono)
        return self.priority(heads[0][4], mono) if heads else None

    def place(self, run: Holder, mono: int) -> tuple[int, int, int, int]:
        """Return the sort key of a run at an instant, as in `head`; the lowest key goes first. Raises KeyError."""
        group, key = self._places[run]
        return self.share_rank(group), -group.effective(key[0], mono), key[1], key[2]

    def terms(self, run: Holder) -> Terms:
        """Return the terms of a run.  Raises KeyError if the run is not queued."""
        return self._places[run][0].terms

    def all_terms(self) -> Iterable[Terms]:
        """Return the terms on which runs wait or recently waited."""
        return self._groups

    def ordered(self, mono: int) -> Iterator[Holder]:
        """Yield all runs in their order at an instant."""
        return iter(sorted(self._places, key=lambda run: self.place(run, mono)))

    def only(self, runs: Iterable[Holder], drain: int | None) -> Waiting:
        """Return a copy of the queue with only these runs, each with this `drain` (ns); None keeps each run's
        `drain`.
        """
        some = Waiting()
        some.live = self.live.copy()
        for run in runs:
            group, key = self._places[run]
            copy = some._group(group.terms if drain is None else group.terms._replace(drain=drain))
            some._places[run] = copy, key
            heappush(copy.heap, key)
        return some

    def __iter__(self) -> Iterator[Holder]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, run: object) -> bool:
        return run in self._places
