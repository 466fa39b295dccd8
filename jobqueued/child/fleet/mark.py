"""The mark of a fleet: by that a host knows whether etcd has all that it had when the host heard of it last.  Pure.

    /jq/fleet                  AGE               changed with each write of any host; its version is the mark

An etcd that was put back to an earlier state has a smaller version, whatever its revisions say (`--bump-revision`).
The host that finds that gives the fleet another age, so that hosts know it that were not there meanwhile: all that
remember another one claim nothing until a person accepts it.
"""

from __future__ import annotations

from jobqueued.child.fleet.claims import ROOT, created
from jobqueued.child.fleet.values import MOST
from jobqueued.child.fleet.wire import Message, coded, text
from jobqueued.child.tuples import NamedTuple

KEY = f"{ROOT}fleet"
READING: Message = {"key": coded(KEY)}
"""The call of kv/range for it."""


class Mark(NamedTuple):
    """An age of a fleet, and how often something was written in it; "": none, or what no host has made."""

    age: str = ""
    number: int = 0

    def is_in(self, found: Mark) -> bool:
        """Tell whether an etcd that has `found` has all that it had by this mark."""
        return not self.age or (found.age == self.age and found.number >= self.number)


def read(answer: Message) -> Mark:
    """The mark that an answer has read."""
    ranges = [answer, *(each.get("response_range", {}) for each in answer.get("responses", ()))]
    for kv in (kv for each in ranges for kv in each.get("kvs", ())):
        if text(kv["key"]) == KEY:
            age = text(kv.get("value", ""))
            return Mark(age if len(age) <= MOST else "", int(kv["version"]))
    return Mark()


def settling(found: Mark, seen: Mark, age: str) -> Message | None:
    """The transaction by which a fleet gets this `age`, as it has none yet, or etcd was put back; None: it is well."""
    if found.age and (seen.is_in(found) or found.age != seen.age):
        return None
    if not found.age and seen.age:  # all of it is gone: it begins anew once that was accepted
        return None
    return {"compare": _is_it(found) if found.number else [created(KEY, 0)], "success": [_put(age)]}


def guarded(batch: Message, seen: Mark) -> Message:
    """A batch that is carried out only by an etcd that has all by this mark, and counts as a write; else it reads what
    mark there is.
    """
    more = {"compare": [_value(seen), _at_least(seen.number)], "success": [_put(seen.age, before=True)],
            "failure": [{"request_range": READING}]}  # fmt: skip
    return {**batch, **{name: [*batch.get(name, ()), *operations] for name, operations in more.items()}}


def after(answer: Message, seen: Mark) -> Mark | None:
    """The mark by the answer to a batch that went by one; None: etcd does not have all by that."""
    if not answer.get("succeeded"):
        found = read(answer)
        return found if seen.is_in(found) else None
    before = (each.get("response_put", {}).get("prev_kv") for each in answer["responses"])
    return Mark(seen.age, max((int(kv["version"]) for kv in before if kv and text(kv["key"]) == KEY), default=0) + 1)


def _value(mark: Mark) -> Message:
    return {"key": coded(KEY), "target": "VALUE", "value": coded(mark.age)}


def _at_least(number: int) -> Message:
    return {"key": coded(KEY), "target": "VERSION", "result": "GREATER", "version": str(number - 1)}


def _is_it(mark: Mark) -> list[Message]:
    version = {"key": coded(KEY), "target": "VERSION", "version": str(mark.number)}
    return [_value(mark), version] if mark.age else [version]


def _put(age: str, *, before: bool = False) -> Message:
    return {"request_put": {"key": coded(KEY), "value": coded(age), "prev_kv": before}}
