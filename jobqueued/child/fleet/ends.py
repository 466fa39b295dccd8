"""Ends of claims as etcd transactions: release locks, and end or return an occurrence. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.child.fleet.claims import FREED, FleetClaim, StoredKey
from jobqueued.child.fleet.etcd.wire import Message, coded
from jobqueued.child.fleet.lines import RETURNED


def end(
    job: str, key: str, store: str, state: str, locks: Iterable[tuple[str, StoredKey]], lease: int = 0
) -> list[Message]:
    """Return the transactions that release a run's locks and, with a `state`, end its occurrence.

    Each transaction has an effect only on a key that still belongs to this host. An ended occurrence's key lives as
    long as its lease. Any host can claim a returned occurrence. While `lease` lives, a key announces the return.
    """
    transactions = [
        {
            "compare": [{"key": coded(name), "target": "MOD", "mod_revision": str(known.modified)}],
            "success": [{"request_delete_range": {"key": coded(name)}}],
        }
        for name, known in locks
    ]
    if state and (run := FleetClaim(job, key, ()).run) is not None:
        compare = {"key": coded(run), "target": "VALUE", "value": coded(store)}
        put: Message = {"key": coded(run), "value": coded(f"{store} {state}"), "ignore_lease": True}
        success: list[Message] = [{"request_put": put}]
        if state == RETURNED:
            put = {"key": coded(f"{FREED}{job}/{key}"), "value": coded(store), "lease": str(lease)}
            success = [{"request_put": put}, {"request_delete_range": {"key": coded(run)}}]
        transactions.append({"compare": [compare], "success": success})
    return transactions
