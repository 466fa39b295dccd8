"""A fleet's mark, which lets a host notice that etcd was restored to an earlier state. Pure.

    /jq/fleet                  AGE               every write of any host changes this key; its version is the mark

In a restored etcd, the version is smaller, even if the revisions are not (`--bump-revision`). The host that notices
this writes a new age. A host with another saved age claims nothing until a user accepts the new age. So a host that was
down during the restore notices it later.
"""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet.claims import ROOT, created
from jobqueued.child.fleet.etcd.values import MOST
from jobqueued.child.fleet.etcd.wire import Message, coded, text

KEY = f"{ROOT}fleet"
READING: Message = {"key": coded(KEY)}
"""The kv/range call that reads the mark."""


class EtcdMark(NamedTuple):
    """A fleet's age, or "" if it has no valid age, and the number of writes in this age."""

    age: str = ""
    number: int = 0

    def is_in(self, found: EtcdMark) -> bool:
        """Return whether an etcd with the mark `found` contains all writes up to this mark."""
        return not self.age or (found.age == self.age and found.number >= self.number)


def read(answer: Message) -> EtcdMark:
    """Return the mark in an answer."""
    ranges = [answer, *(each.get("response_range", {}) for each in answer.get("responses", ()))]
    for kv in (kv for each in ranges for kv in each.get("kvs", ())):
        if text(kv["key"]) == KEY:
            age = text(kv.get("value", ""))
            return EtcdMark(age if len(age) <= MOST else "", int(kv["version"]))
    return EtcdMark()


def settling(found: EtcdMark, seen: EtcdMark, age: str) -> Message | None:
    """Return the transaction that sets a fleet's `age`, or None if the fleet keeps its age."""
    if found.age and (seen.is_in(found) or found.age != seen.age):
        return None
    if not found.age and seen.age:  # the fleet lost all keys, and restarts when a user accepts this
        return None
    return {"compare": _is_it(found) if found.number else [created(KEY, 0)], "success": [_put(age)]}


def guarded(batch: Message, seen: EtcdMark) -> Message:
    """Return a batch that raises the mark. etcd carries it out only if etcd contains all writes up to this mark.

    If etcd does not carry out the batch, the answer has etcd's mark.
    """
    more = {
        "compare": [_value(seen), _at_least(seen.number)],
        "success": [_put(seen.age, before=True)],
        "failure": [{"request_range": READING}],
    }
    return {**batch, **{name: [*batch.get(name, ()), *operations] for name, operations in more.items()}}


def after(answer: Message, seen: EtcdMark) -> EtcdMark | None:
    """Return the mark after a guarded batch, or None if etcd does not contain all writes up to `seen`."""
    if not answer.get("succeeded"):
        found = read(answer)
        return found if seen.is_in(found) else None
    before = (each.get("response_put", {}).get("prev_kv") for each in answer["responses"])
    return EtcdMark(
        seen.age, max((int(kv["version"]) for kv in before if kv and text(kv["key"]) == KEY), default=0) + 1
    )


def _value(mark: EtcdMark) -> Message:
    return {"key": coded(KEY), "target": "VALUE", "value": coded(mark.age)}


def _at_least(number: int) -> Message:
    return {"key": coded(KEY), "target": "VERSION", "result": "GREATER", "version": str(number - 1)}


def _is_it(mark: EtcdMark) -> list[Message]:
    version = {"key": coded(KEY), "target": "VERSION", "version": str(mark.number)}
    return [_value(mark), version] if mark.age else [version]


def _put(age: str, *, before: bool = False) -> Message:
    return {"request_put": {"key": coded(KEY), "value": coded(age), "prev_kv": before}}
