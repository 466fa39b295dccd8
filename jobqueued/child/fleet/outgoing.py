"""The queue of requests to etcd. The first requests go together into one transaction. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping

from jobqueued.child.fleet import claims
from jobqueued.child.fleet.etcd.wire import Message
from jobqueued.child.fleet.known_locks import KnownLocks, Name
from jobqueued.child.fleet.lines import RETURNED
from jobqueued.child.fleet.requests import AskRequest, GiveBackRequest, Plain, Request, RequestBatch, transactions
from jobqueued.child.fleet.skips import SkipRequest
from jobqueued.child.fleet.writes import Writes


class Outgoing:
    """The unanswered requests, in order."""

    def __init__(self) -> None:
        self._requests = deque[Request]()
        self._names = Counter[Name]()
        self._is_withdrawn = False
        """True if the queue may contain a claim whose return was queued later."""

    def __bool__(self) -> bool:
        """Return whether any request is queued."""
        return bool(self._requests)

    def has(self, name: Name) -> bool:
        """Return whether a request with this name is queued."""
        return name in self._names

    def take(self, request: Request) -> None:
        """Add a request at the end."""
        self._is_withdrawn |= isinstance(request, GiveBackRequest) and self.has(request.name)
        self._requests.append(request)
        self._names[request.name] += 1

    def drop(self) -> list[Name]:
        """Drop all requests. Return the names in the dropped claims and returns."""
        names = [each.name for each in self._requests if isinstance(each, AskRequest | GiveBackRequest)]
        self._requests.clear()
        self._names.clear()
        return names

    def take_first(self) -> Request:
        """Remove and return the first request, which was answered."""
        request = self._requests.popleft()
        self._forget(request.name)
        return request

    def _forget(self, name: Name) -> None:
        self._names[name] -= 1
        if not self._names[name]:
            del self._names[name]

    def put_first(self, request: Request) -> None:
        """Insert a request before all others, to resend it."""
        self._requests.appendleft(request)
        self._names[request.name] += 1

    @property
    def occurrences(self) -> int:
        """Return the number of occurrences that the next batch may claim or return."""
        return sum(_of_occurrence(request) for _, request in zip(range(claims.MOST), self._requests, strict=False))

    def take_made(self, announcements: int) -> list[Plain]:
        """Remove and return the first `announcements` announcements, because they were made."""
        requests, made = [*self._requests], list[Plain]()
        self._requests.clear()
        for each in requests:
            if isinstance(each, Plain) and len(made) < announcements:
                made.append(each)
                self._forget(each.name)
            else:
                self._requests.append(each)
        return made

    def batch(
        self, writes: Writes, locks: KnownLocks, leases: Mapping[str, int], keep: int, generation: int
    ) -> RequestBatch | None:
        """Return the first requests as one batch, or None if none may be sent.

        A request is not sent if etcd must remember it longer than `keep` (s), the duration of the "run" lease. The
        "lock" and "session" leases belong to the host.

        A batch contains no key or name twice, and no skip together with another request for its job. The reasons: a
        transaction does not see another transaction's writes, and etcd refuses two writes to a key.
        """
        self._leave_out_withdrawn()
        parts, of_each, seen = list[Message](), list[tuple[int, Collection[str | Name]]](), set[str | Name]()
        jobs, skipping, announcements = set[str](), set[str](), 0
        for number in range(len(self._requests)):
            request = self._requests[number] = _chosen(self._requests[number], locks, seen)
            job, is_skip, touched = request.name[0], isinstance(request, SkipRequest), _touched(request, locks)
            made = transactions(request, writes.session, locks, leases)
            read = {(job, "")}  # publishing the job's definition
            if isinstance(request, AskRequest | SkipRequest) and request.keep > keep:
                break
            if _of_occurrence(request) and not leases["run"]:
                break
            if seen & (touched | read) or job in skipping or (is_skip and job in jobs):
                break
            if parts and len(parts) + len(made) > claims.MOST:
                break
            seen |= touched
            (skipping if is_skip else jobs).add(job)
            announcements += isinstance(request, Plain)
            parts += made
            of_each.append((len(made), touched))
        if not of_each:
            return None
        return RequestBatch(writes.batch(claims.batch(parts), announcements, leases["session"]), of_each, generation)

    def _leave_out_withdrawn(self) -> None:
        """Drop claims whose return is queued. If they were granted now, their occurrences would belong to no run."""
        if not self._is_withdrawn:
            return
        requests, later = [*self._requests], set[Name]()
        self._requests.clear()
        for request in reversed(requests):
            if isinstance(request, AskRequest) and request.name in later:
                self._forget(request.name)
                continue
            if isinstance(request, GiveBackRequest):
                later.add(request.name)
            self._requests.appendleft(request)
        self._is_withdrawn = False


def _of_occurrence(request: Request) -> bool:
    """Return whether a request creates an occurrence's key, or a key that announces its return."""
    if isinstance(request, GiveBackRequest):
        return request.state == RETURNED
    return isinstance(request, SkipRequest) or (isinstance(request, AskRequest) and request.claim.run is not None)


def _chosen(request: Request, locks: KnownLocks, busy: Collection[object]) -> Request:
    """Return the request with units in its claim, if it needs units."""
    if not isinstance(request, AskRequest) or request.claim.locks:
        return request
    units = locks.choose(request.parts, request.name, busy)
    return request._replace(claim=request.claim._replace(locks=units))


def _touched(request: Request, locks: KnownLocks) -> set[str | Name]:
    """Return a request's name and the keys that it touches."""
    if isinstance(request, AskRequest):
        return {request.name, *request.claim.values("")}
    return {request.name, *(key for key, _ in locks.keys(request.name))}
