"""Skips as transactions of etcd: what no host of a fleet runs any more, one of them skips.  Pure.

    /jq/runs/JOB/LAST/1        STORE skipped FIRST   all occurrences of a job from one second to another
    /jq/skipped/JOB            STORE FIRST LAST      the newest of these

Whoever skips names the newest skip that it knows of, so of two that skip at once only one does; it skips nothing that a
host has begun, and nothing is begun without knowing of the newest skip (claims.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import NOTHING, ROOT, SKIPPED, Claim, Found, Session, created, is_newest
from jobqueued.child.fleet.known_locks import Name
from jobqueued.child.fleet.wire import Message, coded

_MOST_READ = 64
"""Occurrences in between of which an answer tells."""


class Span(NamedTuple):
    """Occurrences from one second to another."""

    first: int
    last: int

    def overlaps(self, other: Span) -> bool:
        """Tell whether the two may have some of them in common."""
        return self.first <= other.last and other.first <= self.last


class Skip(NamedTuple):
    """The wish to skip the occurrences of a job from one second to another, to be remembered for `keep` s.

    `spec`: the definition of the job by which alone it may.  `own`: the revision up to which what this host has begun
    of them was read, and is not live.
    """

    job: str
    first: int
    last: int
    keep: int
    spec: str
    own: int = 0

    @property
    def name(self) -> Name:
        """The name of the last of them."""
        return self.job, f"f{self.last}"

    @property
    def span(self) -> Span:
        """The time of all of them."""
        return Span(self.first, self.last)

    @property
    def range(self) -> dict[str, str]:
        """The keys of all of them in etcd, from the first attempt to the last."""
        begin, end = (f"{ROOT}runs/{self.job}/{second:010}" for second in (self.first, self.last + 1))
        return {"key": coded(begin), "range_end": coded(end)}


class Mine(NamedTuple):
    """Those from `first` to `last` are this host's to skip."""

    first: int
    last: int


class Begun(NamedTuple):
    """Others have some of them."""

    found: Mapping[str, Found]


Outcome = Mine | Begun | claims.Newer | claims.SessionOver | claims.Stale | Skip
"""Skip: what is to be asked again."""


def transaction(skip: Skip, session: Session, known: str, lease: int) -> Message:
    """The transaction of a skip, by the newest of its job that is `known`."""
    claim = Claim(*skip.name, ())
    compare = [created(session.key, session.created), is_newest(skip.job, known)]
    compare.append({**skip.range, "target": "MOD", "result": "LESS", "mod_revision": str(skip.own + 1)})
    if skip.spec:
        compare.append({"key": coded(claim.definition), "target": "VALUE", "value": coded(skip.spec)})
    span = f"{session.store} {skip.first} {skip.last}"
    put = {claim.run or "": f"{session.store} skipped {skip.first}", f"{SKIPPED}{skip.job}": span}
    success = [
        {"request_put": {"key": coded(key), "value": coded(value), "lease": str(lease)}} for key, value in put.items()
    ]
    read = [{"key": coded(key)} for key in (session.key, claim.definition, f"{SKIPPED}{skip.job}")]
    ranges = [*read, {**skip.range, "limit": str(_MOST_READ)}]
    return {"compare": compare, "success": success, "failure": [{"request_range": each} for each in ranges]}


def outcome(skip: Skip, session: Session, answer: Message, known: str) -> Outcome:
    """The meaning of an answer to that."""
    if answer.get("succeeded"):
        return Mine(skip.first, skip.last)
    found = claims.read(answer)
    host, definition = found.pop(session.key, None), found.pop(Claim(*skip.name, ()).definition, None)
    newest = found.pop(f"{SKIPPED}{skip.job}", NOTHING)
    if host is None or host.created != session.created:
        return claims.SessionOver()
    for key, it in found.items():
        store, _, state = it.value.partition(" ")
        if store == session.store and state.startswith("skipped "):
            (_, occurrence) = claims.name_of(key) or ("", "")
            return Mine(int(state.partition(" ")[2]), claims.attempt_of(occurrence).second)
    if others := {key: it for key, it in found.items() if it.value != session.store}:
        return Begun(others)
    if newest.value != known:
        return claims.Newer(newest)
    if skip.spec and (definition is None or definition.value != skip.spec):
        return claims.Stale(definition)
    return skip._replace(own=max((it.modified for it in found.values()), default=0))


class KnownSkips:
    """The newest skips of jobs, as they are known."""

    def __init__(self) -> None:
        self._found = dict[str, Found]()

    def newest(self, job: str) -> str:
        """The value of a job's; "": none is known."""
        return self._found.get(job, NOTHING).value

    def note(self, job: str, known: Found | None) -> None:
        """Take over what it is by now; None: it is forgotten."""
        if known is None:
            self._found.pop(job, None)
        elif known.modified > self._found.get(job, NOTHING).modified:
            self._found[job] = known


def span_of(newest: Found) -> Span:
    """The time of a newest skip, by its value."""
    _, first, last = newest.value.split(" ")
    return Span(int(first), int(last))


def told(job: str, newest: Found, own: str) -> list[str | int] | None:
    """The line that tells of another host's skip; None: there is none, or it is this host's `own`."""
    if not newest.value or newest.value.startswith(f"{own} "):
        return None
    first, last = span_of(newest)
    return ["taken", job, f"f{last}", f"skipped {first}"]
