"""Announcements as transactions of etcd: a definition that counts, a pause, who tells that a job is overdue, a place in
a line, what a host is.  Pure.

Nobody waits for an answer to one: that it was made the watch tells, to all hosts.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobqueued.child.fleet.claims import OVERDUE, ROOT, Claim, Session, created
from jobqueued.child.fleet.wire import Message, coded


def place(host: str, lock: str) -> str:
    """The key of the place of a host in the line for a lock."""
    return f"{ROOT}wait/{host}/{lock}"


def publication(job: str, spec: str, before: str) -> Message:
    """The transaction by which a definition of a job counts from now on, if that `before` ("": none) did so far."""
    return _exchange(Claim(job, "", ()).definition, spec, before)


def overdue(job: str, text: str, before: str) -> Message:
    """The transaction by which a host tells that a job is overdue, or with no text that it is so no more, if what was
    told so far is that `before` ("": nothing).
    """
    return _exchange(f"{OVERDUE}{job}", text, before)


def _exchange(key: str, value: str, before: str) -> Message:
    unchanged = {"key": coded(key), "target": "VALUE", "value": coded(before)} if before else created(key, 0)
    put = {"request_put": {"key": coded(key), "value": coded(value)}}
    return {"compare": [unchanged], "success": [put if value else {"request_delete_range": {"key": coded(key)}}]}


def pausing(session: Session, job: str, text: str, before: str) -> Message:
    """The transaction by which a job is paused for all hosts, or with no text resumed, if its pause is that `before`
    ("": whatever it is, as a person has asked for that).
    """
    key = Claim(job, "", ()).pause
    own = [{"key": coded(key), "target": "VALUE", "value": coded(before)}] if before else []
    put = {"request_put": {"key": coded(key), "value": coded(text)}}
    change = put if text else {"request_delete_range": {"key": coded(key)}}
    return {"compare": [created(session.key, session.created), *own], "success": [change]}


def announcing(session: Session, labels: Iterable[str], is_held: bool, lease: int) -> Message:
    """The transaction by which a host tells which labels it has, and whether it is on hold."""
    value = f"{session.store} {session.boot} {','.join(labels) or '-'} {'held' if is_held else '-'} {session.common}"
    put = {"request_put": {"key": coded(session.key), "value": coded(value.rstrip()), "lease": str(lease)}}
    return {"compare": [created(session.key, session.created)], "success": [put]}


def joining(session: Session, lock: str, lease: int) -> Message:
    """The transaction by which a host gets into the line for a lock; where it is there it stays at its place."""
    key = place(session.host, lock)
    put = {"request_put": {"key": coded(key), "value": coded(session.store), "lease": str(lease)}}
    return {"compare": [created(session.key, session.created), created(key, 0)], "success": [put]}


def leaving(session: Session, lock: str) -> Message:
    """The transaction by which a host leaves that line."""
    key = place(session.host, lock)
    own = {"key": coded(key), "target": "VALUE", "value": coded(session.store)}
    return {"compare": [own], "success": [{"request_delete_range": {"key": coded(key)}}]}
