"""Skips as etcd transactions: one host of a fleet skips occurrences that no host runs. Pure.

    /jq/runs/JOB/LAST/1        STORE skipped FIRST   all occurrences of a job from one second to another
    /jq/skipped/JOB            STORE                 the host that made the newest of these

A skip is stored under its last second, and no other key is between the skip and its occurrences. So a host that claims
one of these occurrences finds the skip as the next key. Each skip also changes the key /jq/skipped/JOB. etcd carries
out a skip or a claim only if this key has not changed after the host read it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import FREED, NOTHING, ROOT, SKIPPED, FleetClaim, Session, created, is_newest
from jobqueued.child.fleet.etcd.values import LAST_SECOND
from jobqueued.child.fleet.etcd.wire import Message, coded
from jobqueued.child.fleet.known_locks import Name
from jobqueued.child.fleet.lines import Line

_MOST_READ, _DIGITS = 64, 10
"""Maximum number of occurrences in an answer, and number of digits in their seconds."""
_MOST_KNOWN = 100
"""Maximum remembered skips per job. An occurrence that a forgotten skip may cover is claimed as if no skip was seen."""


class SkipRequest(NamedTuple):
    """A request to skip a job's occurrences from second `first` to `last`. etcd must remember the skip for `keep` s.

    `spec`: the job's definition that must be in force ("" means any). `newest`: revision of the job's newest skip, as
    this host has seen it. `own`: newest revision among this host's occurrences in the range; none of these is live.
    """

    job: str
    first: int
    last: int
    keep: int
    spec: str
    newest: int = 0
    own: int = 0

    @property
    def name(self) -> Name:
        """The name of the last occurrence."""
        return self.job, f"f{self.last}"

    @property
    def range(self) -> dict[str, str]:
        """The range of the occurrences' keys in etcd."""
        return self._within(f"{ROOT}runs/{self.job}/")

    @property
    def returned(self) -> dict[str, str]:
        """The range of keys that announce the return of these occurrences."""
        return self._within(f"{FREED}{self.job}/f")

    def _within(self, prefix: str) -> dict[str, str]:
        begin, end = (f"{prefix}{second:010}" for second in (self.first, self.last + 1))
        return {"key": coded(begin), "range_end": coded(end)}


class Mine(NamedTuple):
    """This host skips the occurrences from `first` to `last`."""

    first: int
    last: int


class OccurrencesTaken(NamedTuple):
    """Other hosts have some of the occurrences, given as key (``f1772409660``) → value."""

    found: Mapping[str, str]


Outcome = Mine | OccurrencesTaken | claims.Newer | claims.SessionOver | claims.Stale | SkipRequest
"""The outcome of a request. A SkipRequest means that this request must be sent next."""


def transaction(skip: SkipRequest, session: Session, lease: int) -> Message:
    """Return a skip's transaction."""
    claim = FleetClaim(*skip.name, ())
    compare = [created(session.key, session.created), is_newest(skip.job, skip.newest)]
    compare.append({**skip.range, "target": "MOD", "result": "LESS", "mod_revision": str(skip.own + 1)})
    if skip.spec:
        compare.append({"key": coded(claim.definition), "target": "VALUE", "value": coded(skip.spec)})
    put = {claim.run or "": f"{session.store} skipped {skip.first}", f"{SKIPPED}{skip.job}": session.store}
    success = [
        {"request_put": {"key": coded(key), "value": coded(value), "lease": str(lease)}} for key, value in put.items()
    ]
    success.append({"request_delete_range": skip.returned})
    read = [{"key": coded(key)} for key in (session.key, claim.definition, f"{SKIPPED}{skip.job}")]
    ranges = [*read, {**skip.range, "limit": str(_MOST_READ)}, claims.following(skip.job, skip.last)]
    return {"compare": compare, "success": success, "failure": [{"request_range": each} for each in ranges]}


def outcome(skip: SkipRequest, session: Session, answer: Message) -> Outcome:
    """Return the outcome from the answer to `transaction`."""
    if answer.get("succeeded"):
        return Mine(skip.first, skip.last)
    found = claims.read(answer)
    host, definition = found.pop(session.key, None), found.pop(FleetClaim(*skip.name, ()).definition, None)
    newest = found.pop(f"{SKIPPED}{skip.job}", NOTHING).modified
    if host is None or host.created != session.created:
        return claims.SessionOver()
    others, own_skips = dict[str, str](), list[int]()
    for key, it in found.items():
        second, first = _second(key, skip.first), claims.first_skipped(it.value)
        if second > skip.last and (first is None or first > skip.last):
            continue
        if first is not None and first <= second and it.value.startswith(f"{session.store} "):
            if first <= skip.first:
                return Mine(first, second)
            own_skips.append(first)
        elif it.value != session.store:
            others[f"f{second}"] = it.value
    if others:
        return OccurrencesTaken(others)
    if own_skips:  # the scheduler died before it recorded them: it records the occurrences before them first
        return skip._replace(last=min(own_skips) - 1, own=0)
    if newest != skip.newest:
        return claims.Newer(newest)
    if skip.spec and (definition is None or definition.value != skip.spec):
        return claims.Stale(definition)
    own = [it.modified for key, it in found.items() if _second(key, skip.first) <= skip.last]
    return skip._replace(own=max(own, default=0))


def _second(key: str, otherwise: int) -> int:
    """Return the second in an occurrence's key, or `otherwise` if no host could have written the key."""
    text = key.split("/")[-2]
    return int(text) if text.isascii() and text.isdecimal() and len(text) == _DIGITS else otherwise


def _spans() -> defaultdict[str, deque[tuple[int, int]]]:
    return defaultdict(lambda: deque(maxlen=_MOST_KNOWN))


class KnownSkips:
    """All hosts' skips that the watch reported, and the revision of each job's newest skip.

    A request that one of these skips covers is not sent. An occurrence that this host skipped is over, even if the
    watch later reports its earlier return. `since`: job → first second whose occurrences are in the snapshot.
    """

    def __init__(self, since: Mapping[str, int]) -> None:
        self._since, self._newest = since, dict[str, int]()
        self._known_from = dict[str, int]()
        """Job → the first second that no unknown skip covers; 0 for a job without an entry."""
        self._spans, self._own = _spans(), _spans()

    def newest(self, job: str, second: int) -> int:
        """Return the revision of a job's newest skip; 0 if an unknown skip may cover the second, or if there is none.

        With 0, etcd refuses a request about a job that has a skip, and its answer contains the skip of this second.
        """
        return 0 if second < self._known_from.get(job, 0) else self._newest.get(job, 0)

    def begin(self, job: str, revision: int) -> None:
        """Save the revision of a job's newest skip from the snapshot, which lacks the job's older occurrences."""
        self._known_from[job] = self._since.get(job, LAST_SECOND + 1)
        self.note_newest(job, revision)

    def note_newest(self, job: str, revision: int) -> None:
        """Save the revision of a job's newest skip; 0 means that the job has no skip."""
        self._newest[job] = revision

    def note(self, job: str, second: int, value: str) -> None:
        """Save the value of the key for this second if it is a skip."""
        if (first := claims.first_skipped(value)) is None:
            return
        if len(spans := self._spans[job]) == _MOST_KNOWN:
            self._known_from[job] = max(self._known_from.get(job, 0), spans[0][1] + 1)
        spans.append((min(first, second), second))

    def note_own(self, job: str, skip: Mine) -> None:
        """Record that this host skips these occurrences."""
        self._own[job].append(skip)

    def is_own(self, job: str, second: int) -> bool:
        """Return whether this host skipped an occurrence."""
        return any(first <= second <= last for first, last in self._own.get(job, ()))

    def line_about_claim(self, claim: FleetClaim) -> Line | None:
        """Return the line about a skip that covers a claim, or None."""
        second = claims.attempt_of(claim.key).second if claim.is_first else 0
        return self.line_about(claim.job, second, second)

    def line_about(self, job: str, first: int, last: int) -> Line | None:
        """Return the line about a skip that covers some of these occurrences, or None."""
        for begin, end in self._spans.get(job, ()):
            if begin <= last and first <= end:
                return ["taken", job, f"f{min(last, end)}", f"skipped {begin}"]
        return None
