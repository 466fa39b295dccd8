"""Claims as etcd transactions: claim an occurrence and locks, all or nothing, while the host's session lives.

    /jq/hosts/HOST             STORE BOOT LABELS HELD    lives as long as the session; "- -" means no label, not held
    /jq/jobs/JOB               SPEC SINCE BEFORE WINDOW    the definition in force, and how long (s) etcd remembers
                                                 occurrences due from a second on, and earlier ones (core/hosts/memory)
    /jq/overdue/JOB            WHO               the host that reported the job as overdue, and when
    /jq/paused/JOB             WHO               the job is paused for all hosts
    /jq/runs/JOB/SECOND/N      STORE [STATE]     an occurrence and its end; N 2: after its first host was lost
    /jq/returned/JOB/KEY       STORE             its host returned the occurrence, and no host has claimed it again
    /jq/skipped/JOB            STORE             the host that made the newest skip of a job (skips.py)
    /jq/locks/NAME[:UNIT]      STORE JOB KEY     the run that has the lock, or its second and further units
    /jq/wait/HOST/NAME         STORE             a place in the line for a lock; lives as long as the session
    /jq/writes/HOST            REVISION NUMBER   the host's last write (writes.py); lives as long as the session

STORE identifies a host's state.db. A key with this host's value belongs to this host, whichever transaction made it,
because the answer to an earlier transaction may have been lost. The code is pure: it makes requests and reads answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet.etcd.values import LAST_SECOND, pause_in
from jobqueued.child.fleet.etcd.wire import Message, after_all, coded, text
from jobqueued.child.fleet.lines import RETURNED

ROOT = "/jq/"
_OCCURRENCE = re.compile(rf"{ROOT}runs/(.+)/([1-9][0-9]{{9}})/([1-9][0-9]{{0,2}})")
SKIPPED, OVERDUE, FREED = f"{ROOT}skipped/", f"{ROOT}overdue/", f"{ROOT}{RETURNED}/"
_RETURNED = re.compile(rf"{FREED}(.+)/f([1-9][0-9]{{9}})")
_SKIP = re.compile(r"\S+ skipped ([0-9]{1,10})")
MOST = 64
"""Maximum transactions in a batch. etcd's default limit is 128 operations, and the batch itself uses some of them."""


class StoredKey(NamedTuple):
    """A key's value, and the revisions that created and last changed the key."""

    value: str
    created: int
    modified: int


NOTHING = StoredKey("", 0, 0)


class Session(NamedTuple):
    """This host's session in etcd, and the revision that created its key, which lives as long as the session.

    `written`: revision of the host's last write when the session began. `fleet`: the fleet's name, or "" if other
    fleets must not see it. `common`: this host's settings that must be equal on all hosts (values.CommonSettings).
    """

    store: str
    host: str
    created: int
    boot: str = ""
    written: int = 0
    fleet: str = ""
    common: str = ""

    @property
    def key(self) -> str:
        """The key of this host."""
        return f"{ROOT}hosts/{self.host}"

    @property
    def writes(self) -> str:
        """The key for the host's last write."""
        return f"{ROOT}writes/{self.host}"


class FleetAttempt(NamedTuple):
    """An attempt at a fleet's occurrence: the occurrence's second, and the attempt's number, starting at 1.

    ``f1772409660.2`` is attempt 2. Another attempt follows if the previous attempt's host is lost.
    """

    second: int
    number: int

    @property
    def key(self) -> str:
        """The attempt's key, as in a run."""
        return f"f{self.second}.{self.number}" if self.number > 1 else f"f{self.second}"

    @property
    def before(self) -> str | None:
        """Return the previous attempt's key, or None if this is the first attempt."""
        return FleetAttempt(self.second, self.number - 1).key if self.number > 1 else None


def attempt_of(key: str) -> FleetAttempt:
    """Return the attempt with this key."""
    second, _, number = key[1:].partition(".")
    return FleetAttempt(int(second), int(number or 1))


def _run(job: str, key: str) -> str:
    """Return an attempt's key in etcd."""
    second, number = attempt_of(key)
    return f"{ROOT}runs/{job}/{second}/{number}"


def name_of(key: str) -> tuple[str, str] | None:
    """Return the job and the occurrence's key from a key in etcd, or None if the key is not an occurrence's."""
    if (found := _OCCURRENCE.fullmatch(key)) is None or int(found[2]) > LAST_SECOND:
        return None
    job, second, number = found.groups()
    return job, f"f{second}" if number == "1" else f"f{second}.{number}"


def returned_of(key: str) -> tuple[str, int] | None:
    """Return the job and second of a returned occurrence from a key in etcd, or None for a different key."""
    found = _RETURNED.fullmatch(key)
    return None if found is None else (found[1], int(found[2]))


def next_attempt(key: str) -> str:
    """Return the key of the next attempt, which another host may claim."""
    second, number = attempt_of(key)
    return f"f{second}.{number + 1}"


class Loss(NamedTuple):
    """The reason for another attempt: the host of the previous attempt `key` is lost.

    `store`: identity of the lost host, or "" if the host is not lost, so that the claim fails. `created`: revision that
    created the key of the host that now has this name, or 0 if no host has this name.
    """

    key: str
    store: str
    created: int


class FleetClaim(NamedTuple):
    """A run's request for lock units (`unit`), and for its occurrence if `key` is a fleet's (``f1772409660``).

    `spec`: the job's definition that must be in force ("" means any). `loss`: the previous attempt's loss. `is_live`:
    the run is live and needs only its locks.
    """

    job: str
    key: str
    locks: tuple[str, ...]
    spec: str = ""
    loss: Loss | None = None
    is_live: bool = False

    @property
    def definition(self) -> str:
        """The key of the job's definition."""
        return f"{ROOT}jobs/{self.job}"

    @property
    def pause(self) -> str:
        """The key of the job's pause."""
        return f"{ROOT}paused/{self.job}"

    @property
    def run(self) -> str | None:
        """The occurrence's key, or None if it is not a fleet's."""
        if self.is_live or not self.key.startswith("f"):
            return None
        return _run(self.job, self.key)

    @property
    def is_first(self) -> bool:
        """Return whether this is the first attempt at an occurrence, which may have been skipped."""
        return self.run is not None and attempt_of(self.key).number == 1

    def values(self, store: str) -> dict[str, str]:
        """Return the requested key → value for this host, whose identity is `store`."""
        run = {} if self.run is None else {self.run: store}
        return run | {f"{ROOT}locks/{name}": f"{store} {self.job} {self.key}" for name in self.locks}


def unit(lock: str, number: int) -> str:
    """Return the name of a lock's unit; numbers start at 1. The first unit has the lock's name."""
    return lock if number == 1 else f"{lock}:{number}"


class ClaimGranted(NamedTuple):
    """The run gets everything that it requested. Later holders of its locks get a greater `fence`."""

    fence: int


class ClaimTaken(NamedTuple):
    """Another host has the occurrence, or it is over (`value`).

    If `value` is "", the previous attempt is not lost; `before` is its value.
    """

    value: str = ""
    before: str = ""


class ClaimDenied(NamedTuple):
    """Another run has the lock with this key and this stored value."""

    key: str
    found: StoredKey


class SessionOver(NamedTuple):
    """The session no longer exists, so nothing can be claimed in it."""


class Stale(NamedTuple):
    """The job has another definition (`found`), or no definition (None)."""

    found: StoredKey | None


class Paused(NamedTuple):
    """The job is paused for all hosts."""

    text: str


class ClaimAgain(NamedTuple):
    """This host already has the keys `found`. Repeat the request with `found`."""

    found: Mapping[str, StoredKey]


class Newer(NamedTuple):
    """The job has a newer skip than this host has seen.

    The newest skip has `revision`; 0 means that the job has no skip.
    """

    revision: int


Outcome = ClaimGranted | ClaimTaken | ClaimDenied | SessionOver | Paused | Stale | ClaimAgain | Newer


def transaction(
    claim: FleetClaim, session: Session, found: Mapping[str, StoredKey], skipped: int, lease: Mapping[str, int]
) -> Message:
    """Return the transaction that claims all keys except those in `found`, which this host already has.

    `skipped`: revision of the job's newest skip, as this host has seen it. `lease`: the leases for occurrences ("run")
    and locks ("lock").
    """
    compare = [created(session.key, session.created)]
    if claim.is_first:
        compare.append(is_newest(claim.job, skipped))
    if claim.spec:
        compare.append({"key": coded(claim.definition), "target": "VALUE", "value": coded(claim.spec)})
        compare.append(created(claim.pause, 0))
    success = list[Message]()
    for key, value in claim.values(session.store).items():
        if (known := found.get(key)) is not None:
            compare.append({"key": coded(key), "target": "MOD", "mod_revision": str(known.modified)})
            continue
        compare.append(created(key, 0))
        kind = "run" if key == claim.run else "lock"
        success.append({"request_put": {"key": coded(key), "value": coded(value), "lease": str(lease[kind])}})
    if claim.is_first:
        success.append({"request_delete_range": {"key": coded(f"{FREED}{claim.job}/{claim.key}")}})
    if claim.loss is not None and claim.run not in found:
        conditions, tells = _lost(claim.job, claim.loss)
        compare += conditions
        success += tells
    before = [] if claim.loss is None else [_run(claim.job, claim.loss.key)]
    read = (session.key, claim.definition, claim.pause, f"{SKIPPED}{claim.job}", *claim.values(session.store), *before)
    ranges = [{"key": coded(key)} for key in read]
    if claim.is_first:
        ranges.append(following(claim.job, attempt_of(claim.key).second))
    failure = [{"request_range": each} for each in ranges]
    return {"compare": compare, "success": success, "failure": failure}


def following(job: str, second: int) -> Message:
    """Return the range that contains the first occurrence after a second.

    A skip is stored under its last second, so the range contains a skip that covers the second.
    """
    begin = f"{ROOT}runs/{job}/{second + 1:010}"
    return {"key": coded(begin), "range_end": coded(after_all(f"{ROOT}runs/{job}/")), "limit": "1"}


def first_skipped(value: str) -> int | None:
    """Return the first second that a skip covers, or None if the value is not a skip."""
    found = _SKIP.fullmatch(value)
    return None if found is None else int(found[1])


def _covering(claim: FleetClaim, now: Mapping[str, StoredKey]) -> str | None:
    """Return the value of the skip that covers the claimed occurrence, or None."""
    if not claim.is_first:
        return None
    second = attempt_of(claim.key).second
    for key, it in now.items():
        name, first = name_of(key), first_skipped(it.value)
        if name is not None and first is not None and first <= second < attempt_of(name[1]).second:
            return it.value
    return None


def _lost(job: str, loss: Loss) -> tuple[list[Message], list[Message]]:
    """Return the conditions and writes that mark an attempt as lost.

    The conditions are that the attempt is not over, and that its host is lost.
    """
    run = _run(job, loss.key)
    host = f"{ROOT}hosts/{loss.store.partition(':')[0]}"
    conditions = [{"key": coded(run), "target": "VALUE", "value": coded(loss.store)}, created(host, loss.created)]
    put = {"key": coded(run), "value": coded(f"{loss.store} lost"), "ignore_lease": True}
    return conditions, [{"request_put": put}]


def is_newest(job: str, known: int) -> Message:
    """Return the condition that the job's newest skip has the revision `known`. 0 means that the job has no skip."""
    return {"key": coded(f"{SKIPPED}{job}"), "target": "MOD", "mod_revision": str(known)}


def outcome(
    claim: FleetClaim, session: Session, found: Mapping[str, StoredKey], skipped: int, answer: Message, revision: int
) -> Outcome:
    """Return the outcome from the answer to `transaction`. `revision`: the revision in the answer's header."""
    wanted = claim.values(session.store)
    if answer.get("succeeded"):
        is_new = wanted.keys() - found.keys()
        return ClaimGranted(revision if is_new else max((it.modified for it in found.values()), default=revision))
    now = read(answer)
    host = now.get(session.key)
    if host is None or host.created != session.created:
        return SessionOver()
    if claim.run in now and now[claim.run].value != session.store:
        return ClaimTaken(now[claim.run].value)
    if claim.run not in now and (skip := _covering(claim, now)) is not None:
        return ClaimTaken(skip)
    newest = now.get(f"{SKIPPED}{claim.job}", NOTHING).modified
    if claim.is_first and newest != skipped:
        return Newer(newest)
    if claim.spec and claim.pause in now:
        return Paused(pause_in(now[claim.pause].value))
    for key, value in wanted.items():
        if key in now and now[key].value != value:
            return ClaimDenied(key, now[key])
    definition = now.get(claim.definition)
    if claim.spec and (definition is None or definition.value != claim.spec):
        return Stale(definition)
    if claim.loss is not None and claim.run not in now:
        before = now.get(_run(claim.job, claim.loss.key))
        return ClaimTaken(before="" if before is None else before.value)
    return ClaimAgain({key: now[key] for key in wanted if key in now})


def batch(transactions: Iterable[Message]) -> Message:
    """Join transactions into one.

    Each transaction keeps its own conditions, and does not see the writes of the others.
    """
    return {"success": [{"request_txn": each} for each in transactions]}


def answers(batched: Message) -> list[Message]:
    """Return the answers to a batch's transactions, in order."""
    return [each["response_txn"] for each in batched.get("responses", ()) if "response_txn" in each]


def revision(answer: Message) -> int:
    """Return the store's revision at the time of the answer."""
    return int(answer["header"]["revision"])


def reported_up_to(result: Message, before: int) -> int:
    """Return the revision that a watch has completely reported after this message.

    `before`: the previous revision. Events arrive in the order of their revisions. The header has the revision of the
    whole store. The header counts only in a message without events, except the first message, because earlier events
    may follow.
    """
    if events := result.get("events"):
        return int(events[-1]["kv"]["mod_revision"])
    return before if result.get("created") else int(result["header"]["revision"])


def ranges(since: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the ranges of all keys. Include occurrences only for jobs in `since`, from the given seconds on.

    The keys sort by second, because seconds have ten digits until the year 2286.
    """
    runs = [(f"{ROOT}runs/{job}/{second:010}", after_all(f"{ROOT}runs/{job}/")) for job, second in since.items()]
    return [(f"{ROOT}hosts/", f"{ROOT}runs/"), (SKIPPED, after_all(f"{ROOT}wait/")), *runs]


def created(key: str, revision: int) -> Message:
    """Return the condition that a revision created the key; 0 means that the key does not exist."""
    return {"key": coded(key), "target": "CREATE", "create_revision": str(revision)}


def read(answer: Message) -> dict[str, StoredKey]:
    """Return the keys in an answer."""
    ranges: Iterable[dict[str, Any]] = (each.get("response_range", {}) for each in answer.get("responses", ()))
    return {text(kv["key"]): kept(kv) for each in ranges for kv in each.get("kvs", ())}


def kept(kv: Mapping[str, Any]) -> StoredKey:
    """Convert a key from the gateway's JSON."""
    return StoredKey(text(kv.get("value", "")), int(kv["create_revision"]), int(kv["mod_revision"]))
