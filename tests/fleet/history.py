"""The history of a fleet's keys as it passed between hosts and etcd, and whether each key could have had that.

Nothing here asks what the program made of it: questions and answers are those of etcd's gateway, byte by byte.

    hosts/HOST               a register that is made, and lapses with its lease
    jobs/JOB                 a register
    runs/JOB/SECOND/N        made where it is not there; the end is added once, by its own host, which may take it away
                             before that, as it was given back; never anybody else's
    returned/JOB/KEY         a register
    skipped/JOB              a register
    writes/HOST              a register, which goes by its own revisions
    fleet                    not looked at: all hosts write it, and only how often
    locks/NAME               made where it is not there; taken away by its own host, or as its lease lapses; what comes
                             later has a greater revision
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Any, NamedTuple

from jobqueued.child.fleet import mark
from jobqueued.child.fleet.etcd.namespace import nameless
from jobqueued.child.fleet.etcd.wire import Message, text
from tests.support.linearizable import stuck

_REACH = 60.0
"""Seconds after which a call without an answer is not carried out any more: etcd gives a proposal up after 7 s, and no
fault of a day holds back what is on its way for longer than 13 s.
"""
_LONGEST_STOP = 13
_UNKNOWN = -1
"""A revision that nobody was told."""
_NOT_DONE: Message = {}
"""The answer to what is in a transaction that was not done."""


class Exchange(NamedTuple):
    """A call of a host, and its answer (b"": none came, or none that tells whether it was carried out)."""

    host: str
    path: str
    asked: float
    answered: float
    question: bytes
    answer: bytes


class Found(NamedTuple):
    """A key as it was read."""

    value: str
    created: int
    modified: int


class Key(NamedTuple):
    """A key as it is; `value` None: it is not there.  `newest`: the greatest revision that it had by then."""

    value: str | None = None
    created: int = 0
    modified: int = 0
    lease: int = 0
    newest: int = 0


class Write(NamedTuple):
    """What is to be written; `value` None: the key is taken away.  `lease` None: that which it has."""

    value: str | None
    lease: int | None = None


class Won(NamedTuple):
    """It was done, as this revision."""

    revision: int


class Read(NamedTuple):
    """It was not done, and so was the key."""

    found: Found | None


class Failed(NamedTuple):
    """It was not done."""


class Operation(NamedTuple):
    """A transaction as far as it is about one key; `needs`: what that has to be, by target and value.

    `is_alone`: nothing else was needed.  `result` None: nobody knows.  `host` "": that is etcd itself.
    """

    key: str
    host: str
    asked: float
    answered: float
    needs: tuple[tuple[str, str], ...]
    is_alone: bool
    write: Write | None
    result: Won | Read | Failed | None


def disordered(exchanges: Iterable[Exchange]) -> dict[str, list[Operation]]:
    """The keys that no order of what was asked explains, with the operations at which it ends."""
    keys = defaultdict[str, list[Operation]](list)
    for operation in operations(list(exchanges)):
        keys[operation.key].append(operation)
    found = {key: stuck(each, Key(), step, _until) for key, each in keys.items()}
    return {key: last for key, last in found.items() if last}


def _until(operation: Operation) -> float:
    """The instant after which it is not carried out any more; a lease may be over at any time."""
    return operation.asked + _REACH if operation.host else inf


# the model


def step(key: Key, operation: Operation) -> Key | None:
    """The key after an operation, if it can be answered so; None: it can't."""
    holds = all(_holds(key, *need) for need in operation.needs)
    match operation.result:
        case Won(revision):
            return _written(key, operation, revision) if holds else None
        case Read(found):
            return _read(key, found)
        case Failed():
            return None if holds and operation.is_alone else key
    return _written(key, operation, _UNKNOWN) if holds and operation.write is not None else None


def _holds(key: Key, target: str, value: str) -> bool:
    match target:
        case "VALUE":
            return key.value == value
        case "LEASE":
            return key.value is not None and key.lease == int(value)
        case "CREATE":
            known = key.created
        case "MOD":
            known = key.modified
        case "MOD LESS":  # a revision that nobody was told may be any
            return key.modified < int(value)
        case _:
            raise ValueError(target)
    return known == int(value) or (known == _UNKNOWN and int(value) > key.newest)


def _written(key: Key, operation: Operation, revision: int) -> Key | None:
    write = operation.write
    if write is None:
        return key
    if write.value is None and key.value is None:  # no change, but later operations have greater revisions
        return None if _UNKNOWN != revision < key.newest else key._replace(newest=max(key.newest, revision))
    if revision != _UNKNOWN and revision <= key.newest:
        return None
    newest = max(key.newest, revision)
    if write.value is None:
        is_own = operation.host in ("", (key.value or "").partition(":")[0])
        is_over = operation.host and operation.key.startswith("/jq/runs/") and " " in (key.value or "")
        may_go = is_own or not operation.key.startswith(("/jq/locks/", "/jq/runs/"))
        return Key(newest=newest) if may_go and not is_over else None
    if key.value is not None and not _may_follow(operation.key, key.value, write.value):
        return None
    created = revision if key.value is None else key.created
    return Key(write.value, created, revision, key.lease if write.lease is None else write.lease, newest)


def _may_follow(name: str, before: str, value: str) -> bool:
    """Tell whether a key that is there may get this value."""
    if name.startswith("/jq/runs/"):
        return " " not in before and value.startswith(f"{before} ")
    return not name.startswith("/jq/locks/")


def _read(key: Key, found: Found | None) -> Key | None:
    if found is None or key.value is None:
        return key if found is None and key.value is None else None
    known = (key.value, *((there if own == _UNKNOWN else own) for own, there in zip(key[1:3], found[1:], strict=True)))
    is_so = known == found and found.modified >= key.newest
    return key._replace(created=found.created, modified=found.modified, newest=found.modified) if is_so else None


# what passed


def operations(exchanges: list[Exchange]) -> Iterator[Operation]:
    """Yield what was asked, by keys; and that keys may lapse once their leases can have."""
    leased, known = set[tuple[str, int]](), _written_keys(exchanges)
    for exchange in exchanges:
        if exchange.path == "kv/txn":
            for operation in _of_transaction(exchange, known):
                yield operation
                if operation.write is not None and operation.write.lease:
                    leased.add((operation.key, operation.write.lease))
    until = _lapses(exchanges)
    for key, lease in sorted(leased):
        yield Operation(key, "", until[lease], inf, (("LEASE", str(lease)),), True, Write(None), None)


def _written_keys(exchanges: Iterable[Exchange]) -> list[str]:
    """All keys that somebody has asked to write, in order."""
    questions = [_read_call(exchange.question) for exchange in exchanges if exchange.path == "kv/txn"]
    return sorted({key for question in questions for part in _parts(question) for key, _ in _writes(part)})


def _read_call(data: bytes) -> Any:
    """A call, or an answer, with keys that have no name of a fleet."""
    return json.loads(nameless(data, "fleet"))


def _parts(question: Message) -> list[Message]:
    """A transaction without those in it, and these; none of a snapshot."""
    inner = [each["request_txn"] for each in question["success"] if "request_txn" in each]
    own = [each for each in question["success"] if "request_put" in each or "request_delete_range" in each]
    return [{**question, "success": own}, *inner] if question.get("compare") else inner


def _answers(question: Message, answer: Message | None) -> list[Message | None]:
    """The answers to its parts: those in it were not done if it was not."""
    own, inner = bool(question.get("compare")), sum("request_txn" in each for each in question["success"])
    if answer is None or (own and not answer.get("succeeded")):
        return [answer] * own + [None if answer is None else _NOT_DONE] * inner
    return [answer] * own + [each["response_txn"] for each in answer["responses"] if "response_txn" in each]


def _needs(part: Message, known: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield what keys have to be, one by one: key, target and value."""
    for each in part["compare"]:
        key, target = text(each["key"]), each["target"]
        if target == "VERSION":  # of the mark
            yield key, target, each["version"]
            continue
        if "range_end" not in each:
            yield key, target, _value(each)
            continue
        begin, end = (bisect_left(known, edge) for edge in (key, text(each["range_end"])))
        yield from ((name, f"{target} {each['result']}", _value(each)) for name in known[begin:end])


def _of_transaction(exchange: Exchange, known: Sequence[str]) -> Iterator[Operation]:
    """Yield the operations of a transaction, and of those that are in it at once; none of a snapshot."""
    question, answer = _read_call(exchange.question), _read_call(exchange.answer or b"null")
    for part, own in zip(_parts(question), _answers(question, answer), strict=True):
        read = _reads(part, own)
        needs = list(_needs(part, known))
        writes = dict(_writes(part, known))
        for key in dict.fromkeys([*(key for key, _, _ in needs), *writes, *read]):
            if key == mark.KEY:  # of which no value matters
                continue
            result: Won | Read | Failed | None = None
            if own is not None and own.get("succeeded"):
                result = Won(int(answer["header"]["revision"]))
            elif own is not None:
                result = Read(read[key]) if key in read else Failed()
            elif key not in writes:
                continue
            yield Operation(
                key, exchange.host, exchange.asked, inf if own is None else exchange.answered,
                tuple((target, value) for name, target, value in needs if name == key),
                own is not _NOT_DONE and all(name == key for name, _, _ in needs), writes.get(key), result,
            )  # fmt: skip


def _value(compare: Message) -> str:
    """What a key is compared with."""
    names = {"CREATE": "create_revision", "MOD": "mod_revision"}
    if compare["target"] in names:
        return str(compare[names[compare["target"]]])
    return text(compare["value"])


def _writes(part: Message, known: Sequence[str] = ()) -> Iterator[tuple[str, Write]]:
    """Yield what a transaction writes, of what it takes away from one key to another those that are `known`."""
    for each in part.get("success", ()):
        if put := each.get("request_put"):
            lease = None if put.get("ignore_lease") else int(put.get("lease", 0))
            yield text(put["key"]), Write(text(put["value"]), lease)
        elif (deletion := each.get("request_delete_range")) and "range_end" in deletion:
            begin, end = (bisect_left(known, text(deletion[edge])) for edge in ("key", "range_end"))
            yield from ((name, Write(None)) for name in known[begin:end])
        elif deletion:
            yield text(deletion["key"]), Write(None)


def _reads(part: Message, answer: Message | None) -> dict[str, Found | None]:
    """The keys that were read, as the transaction was not done."""
    if answer is None or answer is _NOT_DONE or answer.get("succeeded"):
        return {}
    asked = [each["request_range"] for each in part.get("failure", ())]
    found = [each["response_range"].get("kvs", []) for each in answer.get("responses", ())]
    read = dict[str, Found | None]()
    for wanted, kvs in zip(asked, found, strict=True):
        if "range_end" not in wanted:
            read[text(wanted["key"])] = None
        read |= {text(kv["key"]): _found(kv) for kv in kvs}
    return read


def _found(kv: Message) -> Found:
    return Found(text(kv.get("value", "")), int(kv["create_revision"]), int(kv["mod_revision"]))


def _lapses(exchanges: Iterable[Exchange]) -> defaultdict[int, float]:
    """By lease, the instant from which on it may be over: it was told to live until then, or was ended.

    One that lives no longer than faults last may be over at once: a leader that was stopped for that time takes it away
    as it goes on, whoever has kept it alive by the next leader meanwhile (https://github.com/etcd-io/etcd/issues/15247).
    """
    until, ended = defaultdict[int, float](float), dict[int, float]()
    for exchange in exchanges:
        if exchange.path == "lease/revoke":
            lease = int(json.loads(exchange.question)["ID"])
            ended[lease] = min(ended.get(lease, inf), exchange.asked)
        elif exchange.path.startswith("lease/") and exchange.answer:
            answer = json.loads(exchange.answer)
            answer = answer.get("result", answer)
            lease, seconds = int(answer["ID"]), int(answer.get("TTL", 0))
            until[lease] = max(until[lease], exchange.asked + seconds if seconds > 0 else 0)
            if 0 < seconds <= _LONGEST_STOP:
                ended.setdefault(lease, exchange.asked)
    for lease, instant in ended.items():
        until[lease] = min(until[lease], instant)
    return until
