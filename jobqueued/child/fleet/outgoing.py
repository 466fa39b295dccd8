"""Requests on their way to etcd, in order, and as many of the first as go into one transaction.  Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping

from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import Session
from jobqueued.child.fleet.known_locks import KnownLocks, Name
from jobqueued.child.fleet.requests import Ask, Batch, Request, transactions
from jobqueued.child.fleet.skips import Skip
from jobqueued.child.fleet.wire import Message


class Outgoing:
    """Those that were not answered yet."""

    def __init__(self) -> None:
        self._requests = deque[Request]()
        self._names = Counter[Name]()

    def __bool__(self) -> bool:
        """Tell whether there are some."""
        return bool(self._requests)

    def has(self, name: Name) -> bool:
        """Tell whether there is one in a name."""
        return name in self._names

    def take(self, request: Request) -> None:
        """Put one at the end."""
        self._requests.append(request)
        self._names[request.name] += 1

    def drop(self) -> list[Name]:
        """Drop all; the names of what was asked for runs."""
        names = [each.name for each in self._requests if isinstance(each, Ask)]
        self._requests.clear()
        self._names.clear()
        return names

    def take_first(self) -> Request:
        """Take out the first, which was answered."""
        request = self._requests.popleft()
        self._names[request.name] -= 1
        if not self._names[request.name]:
            del self._names[request.name]
        return request

    def put_first(self, request: Request) -> None:
        """Put one before all others, to be sent again."""
        self._requests.appendleft(request)
        self._names[request.name] += 1

    @property
    def occurrences(self) -> int:
        """The number of occurrences that the next batch may claim."""
        return sum(_of_occurrence(request) for _, request in zip(range(claims.MOST), self._requests, strict=False))

    def batch(
        self, session: Session, locks: KnownLocks, leases: Mapping[str, int], keep: int, era: int
    ) -> Batch | None:
        """The first as one transaction; None: there is none that has enough of `keep`.

        The lease of occurrences ("run") lasts for so many seconds; "lock" and "session" name those of the host.

        No key and no name is in it twice, nor a skip with anything else of its job: none of them sees what another has
        written, and etcd refuses two such writes.
        """
        parts, sizes, seen = list[Message](), list[int](), set[str | Name]()
        jobs, skipping = set[str](), set[str]()
        for number in range(len(self._requests)):
            request = self._requests[number] = _chosen(self._requests[number], locks, seen)
            job, is_skip, touched = request.name[0], isinstance(request, Skip), _touched(request, locks)
            made = transactions(request, session, locks, leases)
            read = {(job, "")}  # a definition that is published
            if isinstance(request, Ask | Skip) and request.keep > keep:
                break
            if _of_occurrence(request) and not leases["run"]:
                break
            if seen & (touched | read) or job in skipping or (is_skip and job in jobs):
                break
            if parts and len(parts) + len(made) > claims.MOST:
                break
            seen |= touched
            (skipping if is_skip else jobs).add(job)
            parts += made
            sizes.append(len(made))
        return Batch(claims.batch(parts), sizes, era) if sizes else None


def _of_occurrence(request: Request) -> bool:
    """Tell whether a request makes the key of an occurrence."""
    return isinstance(request, Skip) or (isinstance(request, Ask) and request.claim.run is not None)


def _chosen(request: Request, locks: KnownLocks, busy: Collection[object]) -> Request:
    """A request whose claim names units, if it is about some."""
    if not isinstance(request, Ask) or request.claim.locks:
        return request
    units = locks.choose(request.parts, request.name, busy)
    return request._replace(claim=request.claim._replace(locks=units))


def _touched(request: Request, locks: KnownLocks) -> set[str | Name]:
    """The name of a request, and the keys that it is about."""
    if isinstance(request, Ask):
        return {request.name, *request.claim.values("")}
    return {request.name, *(key for key, _ in locks.keys(request.name))}
