"""An etcd in memory: the transactions that its gateway takes, with its own rules for them, and what changes by them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from jobqueued.child.fleet.etcd.wire import Message, after_all, coded, text

Change = tuple[int, list[Message]]
"""A revision, and the events of a watch by it."""


class LeaseOver(Exception):
    """The error that something is to live by a lease that is over; nothing was done."""


class FakeEtcd:
    """Keys with values; each transaction that writes makes one revision, and goes to those who watch."""

    def __init__(self) -> None:
        self.revision = 0
        self.kvs: dict[str, Message] = {}
        self._ordered = list[str]()
        self._lapsed = set[str]()
        """The leases that are over: nothing is written by one of them."""
        self.changes: list[Change] = []
        self.watchers: list[Callable[[], None]] = []

    def txn(self, message: Message) -> Message:
        """Carry a transaction out; the answer."""
        return self.apply(self.decided(message))

    def decided(self, message: Message) -> list[Any]:
        """Take the way of a transaction by its conditions, which hold before anything of it is written."""
        succeeded = all(map(self._holds, message.get("compare", ())))
        operations: list[Message] = message.get("success" if succeeded else "failure", [])
        assert len(operations) <= 128, "too many operations in txn request"
        ways = [self.decided(each["request_txn"]) if "request_txn" in each else each for each in operations]
        return [succeeded, ways]

    def apply(self, decided: list[Any]) -> Message:
        """Write what was decided."""
        written = dict[str, Message | None]()
        answer = self._carried_out(decided, written)
        if written:
            self.revision += 1
            self._write(written)
        return answer | {"header": {"revision": str(self.revision)}}

    def foreseen(self, decided: list[Any]) -> Message:
        """The answer that there will be, before anything is written."""
        return self._carried_out(decided, {}) | {"header": {"revision": str(self.revision + 1)}}

    def put(self, key: str, value: str | None) -> int:
        """Set a key, or delete it; the revision by which."""
        operation = (
            {"request_delete_range": {"key": coded(key)}}
            if value is None
            else {"request_put": {"key": coded(key), "value": coded(value)}}
        )
        self.txn({"success": [operation]})
        return self.revision

    def snapshot(self) -> tuple[int, dict[str, Message]]:
        """All that there is now."""
        return self.revision, {key: dict(kv) for key, kv in self.kvs.items()}

    def restore(self, snapshot: tuple[int, dict[str, Message]], bump: int = 0) -> None:
        """Be as it was then; `bump`: revisions go on so much later.  Nobody hears of that."""
        self.revision, self.kvs = snapshot[0] + bump, {key: dict(kv) for key, kv in snapshot[1].items()}
        self._ordered = sorted(self.kvs)
        self.changes.clear()

    def lapse(self, *leases: int) -> None:
        """End leases, with all keys that live by them."""
        self._lapsed |= (over := {str(lease) for lease in leases})
        if lapsed := {key: None for key, kv in self.kvs.items() if kv.get("lease") in over}:
            self.revision += 1
            self._write({**lapsed})

    def values(self, prefix: str) -> dict[str, str]:
        """All that is below a prefix."""
        first, after = bisect_left(self._ordered, prefix), bisect_left(self._ordered, after_all(prefix))
        return {key: text(self.kvs[key].get("value", "")) for key in self._ordered[first:after]}

    def since(self, revision: int) -> list[Change]:
        """The changes after a revision."""
        later = takewhile(lambda change: change[0] > revision, reversed(self.changes[-1000:]))
        return [*later][::-1]

    def _holds(self, compare: Message) -> bool:
        if "range_end" in compare:
            revisions = [int(kv["mod_revision"]) for kv in self._range(compare)]
            assert (compare["target"], compare["result"]) == ("MOD", "LESS")
            return max(revisions, default=0) < int(compare["mod_revision"])
        kv = self.kvs.get(text(compare["key"]), {})
        match compare["target"]:
            case "CREATE":
                return kv.get("create_revision", "0") == compare["create_revision"]
            case "MOD":
                return kv.get("mod_revision", "0") == compare["mod_revision"]
            case "VERSION":
                known, wanted = int(kv.get("version", "0")), int(compare["version"])
                return known > wanted if compare.get("result") == "GREATER" else known == wanted
            case "VALUE":
                return bool(kv) and kv.get("value", "") == compare["value"]
        raise AssertionError(compare)

    def _range(self, wanted: Message) -> list[Message]:
        """The keys from one to another, or one."""
        begin = text(wanted["key"])
        end = text(wanted["range_end"]) if "range_end" in wanted else f"{begin}\0"
        first, after = bisect_left(self._ordered, begin), bisect_left(self._ordered, end)
        limit = int(wanted.get("limit", 0)) or len(self._ordered)
        return [self.kvs[key] for key in self._ordered[first : min(after, first + limit)]]

    def _carried_out(self, decided: list[Any], written: dict[str, Message | None]) -> Message:
        succeeded, ways = decided
        responses = list[Message]()
        for way in ways:
            if isinstance(way, list):
                responses.append({"response_txn": self._carried_out(way, written)})
            elif "request_range" in way:
                found = [dict(kv) for kv in self._range(way["request_range"])]
                responses.append({"response_range": {"kvs": found} if found else {}})
            elif "request_put" in way:
                key = text(way["request_put"]["key"])
                assert key not in written, "duplicate key given in txn request"
                put = way["request_put"]
                assert not (put.get("ignore_lease") and key not in self.kvs), "key not found"
                if put.get("lease", "0") in self._lapsed:
                    raise LeaseOver(put["lease"])
                written[key] = put
                before = {"prev_kv": dict(self.kvs[key])} if put.get("prev_kv") and key in self.kvs else {}
                responses.append({"response_put": before})
            else:
                for key in [text(kv["key"]) for kv in self._range(way["request_delete_range"])]:
                    assert key not in written, "duplicate key given in txn request"
                    written[key] = None
                responses.append({"response_delete_range": {}})
        return ({"succeeded": True} if succeeded else {}) | {"responses": responses}

    def _write(self, written: dict[str, Message | None]) -> None:
        events, number = list[Message](), str(self.revision)
        for key, put in written.items():
            before = self.kvs.get(key)
            if put is None:
                if before is not None:
                    del self.kvs[key]
                    del self._ordered[bisect_left(self._ordered, key)]
                    events.append({"type": "DELETE", "kv": {"key": coded(key), "mod_revision": number}})
                continue
            created = before["create_revision"] if before else number
            if before is None:
                insort(self._ordered, key)
            version = str(int((before or {}).get("version", "0")) + 1)
            kv = {"key": coded(key), "create_revision": created, "mod_revision": number, "version": version}
            if put["value"]:  # the gateway's JSON omits an empty value
                kv["value"] = put["value"]
            if lease := (before or {}).get("lease", "") if put.get("ignore_lease") else put.get("lease", ""):
                kv["lease"] = lease
            self.kvs[key] = kv
            events.append({"kv": kv})
        self.changes.append((self.revision, events))
        for watcher in self.watchers:
            watcher()
