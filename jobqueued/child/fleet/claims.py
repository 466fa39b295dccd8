"""Claims as transactions of etcd: an occurrence and locks, all or nothing, as long as the session of the host lasts.

    /jq/hosts/HOST             STORE BOOT LABELS HELD    lives as long as the session does; - - is no label, not held
    /jq/jobs/JOB               SPEC SINCE BEFORE WINDOW    the definition that counts, and for how long (s) occurrences
                                                 are remembered that are due from a second on, and before (core/memory)
    /jq/overdue/JOB            WHO               which host has told that it is overdue, and when
    /jq/paused/JOB             WHO               that it is paused for all hosts
    /jq/runs/JOB/SECOND/N      STORE [STATE]     an occurrence, and how it has ended; N 2: after its first host was lost
    /jq/returned/JOB/KEY       STORE             that the host which had it has given it back, and nobody has it since
    /jq/skipped/JOB            STORE             whose the newest skip of a job is (skips.py)
    /jq/locks/NAME[:UNIT]      STORE JOB KEY     the run that has it, or the second and further units of it
    /jq/wait/HOST/NAME         STORE             a place in the line for a lock; lives as long as the session does
    /jq/writes/HOST            REVISION NUMBER   the host's last write (writes.py); lives as long as the session does

STORE tells one state.db of one host from all others.  Pure: what is asked, and what an answer means.

A key that is there and is this host's is won, whatever transaction has made it: an answer may have been lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jobqueued.child.fleet.lines import RETURNED
from jobqueued.child.fleet.values import LAST_SECOND
from jobqueued.child.fleet.wire import Message, after_all, coded, text
from jobqueued.child.tuples import NamedTuple

ROOT = "/jq/"
_OCCURRENCE = re.compile(rf"{ROOT}runs/(.+)/([1-9][0-9]{{9}})/([1-9][0-9]{{0,2}})")
SKIPPED, OVERDUE, FREED = f"{ROOT}skipped/", f"{ROOT}overdue/", f"{ROOT}{RETURNED}/"
_RETURNED = re.compile(rf"{FREED}(.+)/f([1-9][0-9]{{9}})")
_SKIP = re.compile(r"\S+ skipped ([0-9]{1,10})")
MOST = 64
"""Transactions of one batch: etcd takes 128 operations, its default, of which an outer one is made."""


class Found(NamedTuple):
    """A key as it was read: its value, and the revisions that made it and changed it last."""

    value: str
    created: int
    modified: int


NOTHING = Found("", 0, 0)


class Session(NamedTuple):
    """The host in etcd: whose claims they are, and the key, with the revision that made it, which ends with them.

    `written`: the revision of its last write, as it began.  `fleet`: its name; "": it is not to be seen by others.
    `common`: what is to be the same on all hosts (values.Common), as it is on this one.
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
        """The key of the host."""
        return f"{ROOT}hosts/{self.host}"

    @property
    def writes(self) -> str:
        """The key of its last write."""
        return f"{ROOT}writes/{self.host}"


class Attempt(NamedTuple):
    """An occurrence in the fleet: its second, and how many hosts had it, from 1 on; ``f1772409660.2`` is the second."""

    second: int
    number: int

    @property
    def before(self) -> str | None:
        """The key of the attempt before this; None: it is the first."""
        return f"f{self.second}" + f".{self.number - 1}" * (self.number > 2) if self.number > 1 else None


def attempt_of(key: str) -> Attempt:
    """The meaning of a key of the fleet."""
    second, _, number = key[1:].partition(".")
    return Attempt(int(second), int(number or 1))


def _run(job: str, key: str) -> str:
    """The key in etcd of an attempt."""
    second, number = attempt_of(key)
    return f"{ROOT}runs/{job}/{second}/{number}"


def name_of(key: str) -> tuple[str, str] | None:
    """The job, and the key of its occurrence, that a key in etcd is about; None: it is about something else."""
    if (found := _OCCURRENCE.fullmatch(key)) is None or int(found[2]) > LAST_SECOND:
        return None
    job, second, number = found.groups()
    return job, f"f{second}" + f".{number}" * (number != "1")


def returned_of(key: str) -> tuple[str, int] | None:
    """The job, and the second of the occurrence, that a key tells was given back; None: it is about something else."""
    found = _RETURNED.fullmatch(key)
    return None if found is None else (found[1], int(found[2]))


def next_attempt(key: str) -> str:
    """The key of an occurrence for whoever comes after the host that had it in this one."""
    second, number = attempt_of(key)
    return f"f{second}.{number + 1}"


class Loss(NamedTuple):
    """The reason for a further attempt: a host had the one before, by the key of that, and is gone.

    `store`: who that was; "": nobody is known to be lost, which is never so.  `created`: the revision that made the key
    of whoever is called so by now; 0: there is none.
    """

    key: str
    store: str
    created: int


class Claim(NamedTuple):
    """The wish of a run: its occurrence, where `key` is of the fleet (``f1772409660``), and units of locks (`unit`).

    `spec`: the definition of its job by which alone it may have that; "": any.  `loss`: that of the attempt before.
    `is_live`: it goes on, and wants nothing but its locks.
    """

    job: str
    key: str
    locks: tuple[str, ...]
    spec: str = ""
    loss: Loss | None = None
    is_live: bool = False

    @property
    def definition(self) -> str:
        """The key of the definition of its job."""
        return f"{ROOT}jobs/{self.job}"

    @property
    def pause(self) -> str:
        """The key of the pause of its job."""
        return f"{ROOT}paused/{self.job}"

    @property
    def run(self) -> str | None:
        """The key of the occurrence; None: it is not the fleet's."""
        if self.is_live or not self.key.startswith("f"):
            return None
        return _run(self.job, self.key)

    @property
    def is_first(self) -> bool:
        """Tell whether it is about the first attempt of an occurrence, which may have been skipped."""
        return self.run is not None and attempt_of(self.key).number == 1

    def values(self, store: str) -> dict[str, str]:
        """The keys that are wanted, with the values by which they are this host's."""
        run = {} if self.run is None else {self.run: store}
        return run | {f"{ROOT}locks/{name}": f"{store} {self.job} {self.key}" for name in self.locks}


def unit(lock: str, number: int) -> str:
    """The name of a unit of a lock, from 1 on: the first is called as the lock is, which may have no other."""
    return lock if number == 1 else f"{lock}:{number}"


class Granted(NamedTuple):
    """All is the run's; of any later holder of one of its locks the fence is greater."""

    fence: int


class Taken(NamedTuple):
    """The occurrence is another host's, or over, by its `value`; "": that `before` it was not lost, by its value."""

    value: str = ""
    before: str = ""


class Denied(NamedTuple):
    """Somebody has one of the locks: that key, as it was read."""

    key: str
    found: Found


class SessionOver(NamedTuple):
    """The session is not there any more: nothing may be claimed by it."""


class Stale(NamedTuple):
    """The job has another definition by now, as it was read; None: it has none yet."""

    found: Found | None


class Paused(NamedTuple):
    """The job is paused for all hosts."""

    text: str


class Again(NamedTuple):
    """A part of it is this host's already: to be asked again with what was found."""

    found: Mapping[str, Found]


class Newer(NamedTuple):
    """The newest skip of the job is another one than is known: the revision by which; 0: there is none."""

    revision: int


Outcome = Granted | Taken | Denied | SessionOver | Paused | Stale | Again | Newer


def transaction(
    claim: Claim, session: Session, found: Mapping[str, Found], skipped: int, lease: Mapping[str, int]
) -> Message:
    """The transaction that claims what is not this host's yet; `found`: what is, as it was read.

    `skipped`: the revision of the newest skip of its job that is known; `lease`: those with which occurrences ("run")
    and locks ("lock") live on.
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
    """The place of the first occurrence after a second: as a skip is kept by its last, that is the one that covers it,
    if one does.
    """
    begin = f"{ROOT}runs/{job}/{second + 1:010}"
    return {"key": coded(begin), "range_end": coded(after_all(f"{ROOT}runs/{job}/")), "limit": "1"}


def first_skipped(value: str) -> int | None:
    """The second from which on an occurrence was skipped with others; None: it is no skip."""
    found = _SKIP.fullmatch(value)
    return None if found is None else int(found[1])


def _covering(claim: Claim, now: Mapping[str, Found]) -> str | None:
    """The value of the skip of other occurrences that covers this one; None: none does."""
    if not claim.is_first:
        return None
    second = attempt_of(claim.key).second
    for key, it in now.items():
        name, first = name_of(key), first_skipped(it.value)
        if name is not None and first is not None and first <= second < attempt_of(name[1]).second:
            return it.value
    return None


def _lost(job: str, loss: Loss) -> tuple[list[Message], list[Message]]:
    """The conditions by which an attempt is lost, and what tells so: it is over, and the host that had it is gone."""
    run = _run(job, loss.key)
    host = f"{ROOT}hosts/{loss.store.partition(':')[0]}"
    conditions = [{"key": coded(run), "target": "VALUE", "value": coded(loss.store)}, created(host, loss.created)]
    put = {"key": coded(run), "value": coded(f"{loss.store} lost"), "ignore_lease": True}
    return conditions, [{"request_put": put}]


def is_newest(job: str, known: int) -> Message:
    """The condition that a job's newest skip is that by the revision `known` (0: there is none)."""
    return {"key": coded(f"{SKIPPED}{job}"), "target": "MOD", "mod_revision": str(known)}


def outcome(
    claim: Claim, session: Session, found: Mapping[str, Found], skipped: int, answer: Message, revision: int
) -> Outcome:
    """The meaning of an answer to that; `revision`: that of the answer's header."""
    wanted = claim.values(session.store)
    if answer.get("succeeded"):
        is_new = wanted.keys() - found.keys()
        return Granted(revision if is_new else max((it.modified for it in found.values()), default=revision))
    now = read(answer)
    host = now.get(session.key)
    if host is None or host.created != session.created:
        return SessionOver()
    if claim.run in now and now[claim.run].value != session.store:
        return Taken(now[claim.run].value)
    if (skip := _covering(claim, now)) is not None:
        return Taken(skip)
    newest = now.get(f"{SKIPPED}{claim.job}", NOTHING).modified
    if claim.is_first and newest != skipped:
        return Newer(newest)
    if claim.spec and claim.pause in now:
        return Paused(now[claim.pause].value)
    for key, value in wanted.items():
        if key in now and now[key].value != value:
            return Denied(key, now[key])
    definition = now.get(claim.definition)
    if claim.spec and (definition is None or definition.value != claim.spec):
        return Stale(definition)
    if claim.loss is not None and claim.run not in now:
        before = now.get(_run(claim.job, claim.loss.key))
        return Taken(before="" if before is None else before.value)
    return Again({key: now[key] for key in wanted if key in now})


def batch(transactions: Iterable[Message]) -> Message:
    """Several at once, each for itself; none of them sees what one before it has written."""
    return {"success": [{"request_txn": each} for each in transactions]}


def answers(batched: Message) -> list[Message]:
    """The answers to them, in their order."""
    return [each["response_txn"] for each in batched.get("responses", ()) if "response_txn" in each]


def revision(answer: Message) -> int:
    """The revision of the whole store when it was given."""
    return int(answer["header"]["revision"])


def told(result: Message, before: int) -> int:
    """The revision up to which a watch has told all by now, `before` this message of it.

    Events come in the order of their revisions; where none has to come, the header has that of the store.  It has it
    also where events from before are still to come, in the first message, and beside the events of a part of them.
    """
    if events := result.get("events"):
        return int(events[-1]["kv"]["mod_revision"])
    return before if result.get("created") else int(result["header"]["revision"])


def ranges(since: Mapping[str, int]) -> list[tuple[str, str]]:
    """From where to where all keys are, of occurrences those of each job since a second.

    The order of keys is that of their seconds, all of which have ten digits until the year 2286.
    """
    runs = [(f"{ROOT}runs/{job}/{second:010}", after_all(f"{ROOT}runs/{job}/")) for job, second in since.items()]
    return [(f"{ROOT}hosts/", f"{ROOT}runs/"), (SKIPPED, after_all(f"{ROOT}wait/")), *runs]


def created(key: str, revision: int) -> Message:
    """The condition that a key was made by that revision; 0: that it is not there."""
    return {"key": coded(key), "target": "CREATE", "create_revision": str(revision)}


def read(answer: Message) -> dict[str, Found]:
    """The keys that an answer has read."""
    ranges: Iterable[dict[str, Any]] = (each.get("response_range", {}) for each in answer.get("responses", ()))
    return {text(kv["key"]): kept(kv) for each in ranges for kv in each.get("kvs", ())}


def kept(kv: Mapping[str, Any]) -> Found:
    """A key as the gateway tells it."""
    return Found(text(kv.get("value", "")), int(kv["create_revision"]), int(kv["mod_revision"]))
