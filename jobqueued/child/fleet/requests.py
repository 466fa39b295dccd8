"""A scheduler's requests to its fleet, and their transactions. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet import announcements, claims, ends, skips
from jobqueued.child.fleet.claims import FleetClaim, Session, StoredKey
from jobqueued.child.fleet.etcd.wire import Message
from jobqueued.child.fleet.known_locks import KnownLocks, LockUnits, Name
from jobqueued.child.fleet.skips import SkipRequest


class AskRequest(NamedTuple):
    """Request number `question` about the run `job`@`number`.

    etcd must remember the occurrence for `keep` s. `found`: the keys that this host already has. `skipped`: revision of
    the job's newest skip, as this host has seen it. After units were chosen for `parts`, the `claim` contains them
    until an answer arrives.
    """

    claim: FleetClaim
    parts: Sequence[LockUnits]
    number: int
    question: int
    keep: int
    found: Mapping[str, StoredKey]
    skipped: int = 0

    @property
    def name(self) -> Name:
        """The name of the claimed occurrence or run."""
        return self.claim.job, self.claim.key


class GiveBackRequest(NamedTuple):
    """Give back the claims that were granted to this name. `state`: the occurrence's state."""

    name: Name
    state: str


class PublishRequest(NamedTuple):
    """Put a job's definition into force, if the definition in force has this `revision` (0 means no definition)."""

    job: str
    spec: str
    revision: int

    @property
    def name(self) -> Name:
        """The name for publishing the definition."""
        return self.job, ""


class PauseRequest(NamedTuple):
    """Set a job's pause for all hosts ("" resumes the job), if its current pause is `before` ("" means any)."""

    job: str
    text: str
    before: str

    @property
    def name(self) -> Name:
        """The name of the pause."""
        return self.job, "paused"


class Overdue(NamedTuple):
    """Report a job as overdue ("" means no longer overdue), if the last report has this `revision` (0 means none)."""

    job: str
    text: str
    revision: int

    @property
    def name(self) -> Name:
        """The name of the report."""
        return self.job, "overdue"


class PlaceRequest(NamedTuple):
    """Join (`joins`) or leave the line of hosts that wait for a lock."""

    lock: str
    joins: bool

    @property
    def name(self) -> Name:
        """The name of the line."""
        return "", self.lock


class AnnounceRequest(NamedTuple):
    """Announce this host's labels, and whether the host is on hold."""

    labels: tuple[str, ...]
    is_held: bool

    @property
    def name(self) -> Name:
        """The name of this host's announcement."""
        return "", "host"


Plain = PublishRequest | PlaceRequest | PauseRequest | Overdue | AnnounceRequest
"""An announcement: a request that needs no answer, and must not be carried out twice."""
Request = AskRequest | SkipRequest | GiveBackRequest | Plain


class RequestBatch(NamedTuple):
    """Requests that are sent together. Each has its number of transactions, and the names and keys that it touches.

    `generation`: the conversation's generation when these requests came first.
    """

    message: Message
    parts: list[tuple[int, Collection[str | Name]]]
    generation: int


def transactions(request: Request, session: Session, locks: KnownLocks, leases: Mapping[str, int]) -> list[Message]:
    """Return a request's transactions.

    `leases`: the leases for occurrences ("run"), for locks ("lock"), and for the "session".
    """
    if isinstance(request, AskRequest):
        return [claims.transaction(request.claim, session, request.found, request.skipped, leases)]
    if isinstance(request, SkipRequest):
        return [skips.transaction(request, session, leases["run"])]
    if isinstance(request, PublishRequest):
        return [announcements.publication(*request)]
    if isinstance(request, PauseRequest):
        return [announcements.pausing(session, *request)]
    if isinstance(request, Overdue):
        return [announcements.overdue(*request)]
    if isinstance(request, AnnounceRequest):
        return [announcements.announcing(session, *request, leases["session"])]
    if isinstance(request, PlaceRequest) and request.joins:
        return [announcements.joining(session, request.lock, leases["session"])]
    if isinstance(request, PlaceRequest):
        return [announcements.leaving(session, request.lock)]
    return ends.end(*request.name, session.store, request.state, locks.keys(request.name), leases["run"])
