"""Announcements by a host or about a job, as etcd transactions. Pure.

Nothing waits for the answer, because the watch reports each announcement to all hosts.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.child.fleet.claims import OVERDUE, ROOT, FleetClaim, Session, created
from jobqueued.child.fleet.etcd.wire import Message, coded


def place(host: str, lock: str) -> str:
    """Return the key for a host's place in the line for a lock."""
    return f"{ROOT}wait/{host}/{lock}"


def publication(job: str, spec: str, revision: int) -> Message:
    """Return the transaction that puts a job's definition into force.

    It has an effect only if the definition in force has this revision (0 means no definition).
    """
    return _exchange(FleetClaim(job, "", ()).definition, spec, revision)


def overdue(job: str, text: str, revision: int) -> Message:
    """Return the transaction that reports a job as overdue; the text "" means no longer overdue.

    It has an effect only if the last report has this revision (0 means no report).
    """
    return _exchange(f"{OVERDUE}{job}", text, revision)


def _exchange(key: str, value: str, revision: int) -> Message:
    """Return the transaction that replaces a value.

    It compares the revision, because a value may return after other values.
    """
    unchanged = {"key": coded(key), "target": "MOD", "mod_revision": str(revision)}
    put = {"request_put": {"key": coded(key), "value": coded(value)}}
    return {"compare": [unchanged], "success": [put if value else {"request_delete_range": {"key": coded(key)}}]}


def pausing(session: Session, job: str, text: str, before: str) -> Message:
    """Return the transaction that pauses a job for all hosts; the text "" resumes it.

    It has an effect only if the job's current pause is `before`. If `before` is "", it always has an effect, because a
    user requested the change.
    """
    key = FleetClaim(job, "", ()).pause
    own = [{"key": coded(key), "target": "VALUE", "value": coded(before)}] if before else []
    put = {"request_put": {"key": coded(key), "value": coded(text)}}
    change = put if text else {"request_delete_range": {"key": coded(key)}}
    return {"compare": [created(session.key, session.created), *own], "success": [change]}


def announcing(session: Session, labels: Iterable[str], is_held: bool, lease: int) -> Message:
    """Return the transaction that announces a host's labels and whether the host is on hold."""
    value = f"{session.store} {session.boot} {','.join(labels) or '-'} {'held' if is_held else '-'} {session.common}"
    put = {"request_put": {"key": coded(session.key), "value": coded(value.rstrip()), "lease": str(lease)}}
    return {"compare": [created(session.key, session.created)], "success": [put]}


def joining(session: Session, lock: str, lease: int) -> Message:
    """Return the transaction that adds a host to the line for a lock.

    A host that is already in the line keeps its place.
    """
    key = place(session.host, lock)
    put = {"request_put": {"key": coded(key), "value": coded(session.store), "lease": str(lease)}}
    return {"compare": [created(session.key, session.created), created(key, 0)], "success": [put]}


def leaving(session: Session, lock: str) -> Message:
    """Return the transaction that removes a host from the line for a lock."""
    key = place(session.host, lock)
    own = {"key": coded(key), "target": "VALUE", "value": coded(session.store)}
    return {"compare": [own], "success": [{"request_delete_range": {"key": coded(key)}}]}
