"""Skips as transactions of etcd: what no host of a fleet runs any more, one of them skips.  Pure.

    /jq/runs/JOB/LAST/1        STORE skipped FIRST   all occurrences of a job from one second to another
    /jq/skipped/JOB            STORE                 whose the newest of these is

Nothing is between a skip and the occurrences that it covers, so whoever asks about one of them finds the skip as the
first key after it.  Each skip changes the second key, and each skip and claim goes by how that was as it looked.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

from jobqueued.child.fleet import claims
from jobqueued.child.fleet.claims import FREED, NOTHING, ROOT, SKIPPED, Claim, Session, created, is_newest
from jobqueued.child.fleet.known_locks import Name
from jobqueued.child.fleet.lines import Line
from jobqueued.child.fleet.wire import Message, coded
from jobqueued.child.tuples import NamedTuple

_MOST_READ, _DIGITS = 64, 10
"""Occurrences in between of which an answer tells, and the digits of their seconds."""
_MOST_KNOWN = 100
"""Skips of a job that are known; of more the oldest are forgotten, to which no clock comes any more."""


class Skip(NamedTuple):
    """The wish to skip the occurrences of a job from one second to another, to be remembered for `keep` s.

    `spec`: the definition of the job by which alone it may.  `newest`: the revision of the newest skip of the job by
    which it goes.  `own`: that up to which what this host has begun of them was read, and is not live.
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
        """The name of the last of them."""
        return self.job, f"f{self.last}"

    @property
    def range(self) -> dict[str, str]:
        """The keys of all of them in etcd, from the first attempt to the last."""
        return self._within(f"{ROOT}runs/{self.job}/")

    @property
    def returned(self) -> dict[str, str]:
        """The keys that tell of those among them that were given back."""
        return self._within(f"{FREED}{self.job}/f")

    def _within(self, prefix: str) -> dict[str, str]:
        begin, end = (f"{prefix}{second:010}" for second in (self.first, self.last + 1))
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


def transaction(skip: Skip, session: Session, lease: int) -> Message:
    """The transaction of a skip."""
    claim = Claim(*skip.name, ())
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


def outcome(skip: Skip, session: Session, answer: Message) -> Outcome:
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
    if newest != skip.newest:
        return claims.Newer(newest)
    if skip.spec and (definition is None or definition.value != skip.spec):
        return claims.Stale(definition)
    own = [it.modified for key, it in found.items() if _second(key, skip.first) <= skip.last]
    return skip._replace(own=max(own, default=0))


def _second(key: str, otherwise: int) -> int:
    """The second of a key of an occurrence; of what no host has made there, one that stands for it."""
    text = key.split("/")[-2]
    return int(text) if text.isascii() and text.isdecimal() and len(text) == _DIGITS else otherwise


def _spans() -> defaultdict[str, deque[tuple[int, int]]]:
    return defaultdict(lambda: deque(maxlen=_MOST_KNOWN))


class KnownSkips:
    """The skips of other hosts that were told, those of this host, and the revisions of jobs' newest, as the watch has
    them.

    What is asked goes by these: what a skip covers that the scheduler had not heard of yet as it asked is not asked.
    What this host has skipped is over, though the watch may tell only afterwards that it had been given back.
    """

    def __init__(self) -> None:
        self._newest = dict[str, int]()
        self._spans, self._own = _spans(), _spans()

    def newest(self, job: str) -> int:
        """The revision of a job's newest skip; 0: none is known."""
        return self._newest.get(job, 0)

    def note_newest(self, job: str, revision: int) -> None:
        """Take over that there is a newer one; 0: none any more."""
        self._newest[job] = revision

    def note(self, job: str, second: int, value: str) -> None:
        """Take over the value of an occurrence, by its second: it may be a skip."""
        if (first := claims.first_skipped(value)) is not None:
            self._spans[job].append((min(first, second), second))

    def note_own(self, job: str, skip: Mine) -> None:
        """Note that this host skips these."""
        self._own[job].append(skip)

    def is_own(self, job: str, second: int) -> bool:
        """Tell whether this host has skipped an occurrence."""
        return any(first <= second <= last for first, last in self._own.get(job, ()))

    def told_of(self, claim: Claim) -> Line | None:
        """The line that tells of a skip that covers a claim; None: none is known."""
        second = claims.attempt_of(claim.key).second if claim.is_first else 0
        return self.told(claim.job, second, second)

    def told(self, job: str, first: int, last: int) -> Line | None:
        """The line that tells of a skip that covers some of these occurrences; None: none is known."""
        for begin, end in self._spans.get(job, ()):
            if begin <= last and first <= end:
                return ["taken", job, f"f{min(last, end)}", f"skipped {begin}"]
        return None
