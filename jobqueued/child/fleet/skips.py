"""Skips as transactions of etcd: what no host of a fleet runs any more, one of them skips.  Pure.

    /jq/runs/JOB/LAST/1        STORE skipped FIRST   all occurrences of a job from one second to another
    /jq/skipped/JOB            STORE                 whose the newest of these is

Nothing is between a skip and the occurrences that it covers, so whoever asks about one of them finds the skip as the
first key after it.  Each skip changes the second key, and each skip and claim goes by how that was as it looked.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import NOTHING, ROOT, SKIPPED, Claim, Session, created, is_newest
from jobqueued.child.fleet.known_locks import Name
from jobqueued.child.fleet.wire import Message, coded
from jobqueued.child.tuples import NamedTuple

_MOST_READ, _DIGITS = 64, 10
"""Occurrences in between of which an answer tells, and the digits of their seconds."""


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
    def range(self) -> dict[str, str]:
        """The keys of all of them in etcd, from the first attempt to the last."""
        begin, end = (f"{ROOT}runs/{self.job}/{second:010}" for second in (self.first, self.last + 1))
        return {"key": coded(begin), "range_end": coded(end)}


class Mine(NamedTuple):
    """Those from `first` to `last` are this host's to skip."""

    first: int
    last: int


class Begun(NamedTuple):
    """Others have some of them, by their keys (``f1772409660``), with the values."""

    found: Mapping[str, str]


Outcome = Mine | Begun | claims.Newer | claims.SessionOver | claims.Stale | Skip
"""Skip: what is to be asked again."""


def transaction(skip: Skip, session: Session, known: int, lease: int) -> Message:
    """The transaction of a skip, by the revision of the newest of its job that is `known`."""
    claim = Claim(*skip.name, ())
    compare = [created(session.key, session.created), is_newest(skip.job, known)]
    compare.append({**skip.range, "target": "MOD", "result": "LESS", "mod_revision": str(skip.own + 1)})
    if skip.spec:
        compare.append({"key": coded(claim.definition), "target": "VALUE", "value": coded(skip.spec)})
    put = {claim.run or "": f"{session.store} skipped {skip.first}", f"{SKIPPED}{skip.job}": session.store}
    success = [
        {"request_put": {"key": coded(key), "value": coded(value), "lease": str(lease)}} for key, value in put.items()
    ]
    read = [{"key": coded(key)} for key in (session.key, claim.definition, f"{SKIPPED}{skip.job}")]
    ranges = [*read, {**skip.range, "limit": str(_MOST_READ)}, claims.following(skip.job, skip.last)]
    return {"compare": compare, "success": success, "failure": [{"request_range": each} for each in ranges]}


def outcome(skip: Skip, session: Session, answer: Message, known: int) -> Outcome:
    """The meaning of an answer to that."""
    if answer.get("succeeded"):
        return Mine(skip.first, skip.last)
    found = claims.read(answer)
    host, definition = found.pop(session.key, None), found.pop(Claim(*skip.name, ()).definition, None)
    newest = found.pop(f"{SKIPPED}{skip.job}", NOTHING).modified
    if host is None or host.created != session.created:
        return claims.SessionOver()
    others = dict[str, str]()
    for key, it in found.items():
        second, first = _second(key, skip.first), claims.first_skipped(it.value)
        if second > skip.last and (first is None or first > skip.last):
            continue
        if first is not None and it.value.startswith(f"{session.store} ") and first <= skip.first <= second:
            return Mine(first, second)
        if it.value != session.store:
            others[f"f{second}"] = it.value
    if others:
        return Begun(others)
    if newest != known:
        return claims.Newer(newest)
    if skip.spec and (definition is None or definition.value != skip.spec):
        return claims.Stale(definition)
    own = [it.modified for key, it in found.items() if _second(key, skip.first) <= skip.last]
    return skip._replace(own=max(own, default=0))


def _second(key: str, otherwise: int) -> int:
    """The second of a key of an occurrence; of what no host has made there, one that stands for it."""
    text = key.split("/")[-2]
    return int(text) if text.isascii() and text.isdecimal() and len(text) == _DIGITS else otherwise
