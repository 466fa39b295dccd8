"""Requests of a scheduler to its fleet, and the transactions of which each is made.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from jobqueued.child.fleet import announcements, claims, ends, skips
from jobqueued.child.fleet.claims import Claim, Found, Session
from jobqueued.child.fleet.known_locks import KnownLocks, Name, Part
from jobqueued.child.fleet.skips import Skip
from jobqueued.child.fleet.wire import Message
from jobqueued.child.tuples import NamedTuple


class Ask(NamedTuple):
    """A question about the run `job`@`number`, by its number.

    Its occurrence is to be remembered for `keep` s; `found`: what of it is this host's already; `skipped`: the
    revision of the newest skip of its job by which it goes.  The `claim` names
    units of locks once they were chosen for its `parts`, and goes by those until there is an answer.
    """

    claim: Claim
    parts: Sequence[Part]
    number: int
    question: int
    keep: int
    found: Mapping[str, Found]
    skipped: int = 0

    @property
    def name(self) -> Name:
        """The name of what is claimed."""
        return self.claim.job, self.claim.key


class GiveBack(NamedTuple):
    """The end of what was granted in this name; `state`: of its occurrence."""

    name: Name
    state: str


class Publish(NamedTuple):
    """The definition of a job that counts from now on, if it was that `before`."""

    job: str
    spec: str
    before: str

    @property
    def name(self) -> Name:
        """The name of what is published."""
        return self.job, ""


class Pause(NamedTuple):
    """The pause of a job for all hosts ("": none), if it was that `before` ("": whatever it was)."""

    job: str
    text: str
    before: str

    @property
    def name(self) -> Name:
        """The name of what is paused."""
        return self.job, "paused"


class Overdue(NamedTuple):
    """The news that a job is overdue ("": no more), if what was told of that is `before` ("": nothing)."""

    job: str
    text: str
    before: str

    @property
    def name(self) -> Name:
        """The name of what is told."""
        return self.job, "overdue"


class Place(NamedTuple):
    """The place of this host in the line for a lock, to be had (`joins`) or to be given up."""

    lock: str
    joins: bool

    @property
    def name(self) -> Name:
        """The name of the line."""
        return "", self.lock


class Announce(NamedTuple):
    """The labels of this host, and whether it is on hold."""

    labels: tuple[str, ...]
    is_held: bool

    @property
    def name(self) -> Name:
        """The name of what all hosts know of this one."""
        return "", "host"


Plain = Publish | Place | Pause | Overdue | Announce
"""What is announced: once it was carried out nothing of its answer is needed, and it is not to be carried out again."""
Request = Ask | Skip | GiveBack | Plain


class Batch(NamedTuple):
    """Requests that go to etcd at once, with the number of parts that each has, and the names and keys that it is
    about; `era`: when those were the first.
    """

    message: Message
    parts: list[tuple[int, Collection[str | Name]]]
    era: int


def transactions(request: Request, session: Session, locks: KnownLocks, leases: Mapping[str, int]) -> list[Message]:
    """The transactions of a request; `leases`: those of occurrences ("run"), of locks ("lock") and of the "session"."""
    if isinstance(request, Ask):
        return [claims.transaction(request.claim, session, request.found, request.skipped, leases)]
    if isinstance(request, Skip):
        return [skips.transaction(request, session, leases["run"])]
    if isinstance(request, Publish):
        return [announcements.publication(*request)]
    if isinstance(request, Pause):
        return [announcements.pausing(session, *request)]
    if isinstance(request, Overdue):
        return [announcements.overdue(*request)]
    if isinstance(request, Announce):
        return [announcements.announcing(session, *request, leases["session"])]
    if isinstance(request, Place) and request.joins:
        return [announcements.joining(session, request.lock, leases["session"])]
    if isinstance(request, Place):
        return [announcements.leaving(session, request.lock)]
    return ends.end(*request.name, session.store, request.state, locks.keys(request.name), leases["run"])
