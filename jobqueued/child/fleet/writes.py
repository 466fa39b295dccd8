"""A host's writes. etcd carries out each write at most once, even if the write arrives late or several times. Pure.

    /jq/writes/HOST            REVISION NUMBER   the host's last write; lives as long as its session does

A member of etcd that was suspended carries out old requests late: after another member got the same request, and after
later requests. The condition that a key does not exist does not prevent this, because the key may have been created and
deleted. So each write changes the host's own key, and etcd carries it out only if this key has the previous write's
revision. If several batches are sent for a write, etcd carries out only one of them, and none after the next write. The
key's value identifies that batch.
"""

from __future__ import annotations

from jobqueued.child.fleet import neighbours
from jobqueued.child.fleet.claims import Session, StoredKey, created
from jobqueued.child.fleet.etcd.wire import Message, coded


def opening(session: Session, value: str, lease: int) -> Message:
    """Return the transaction that creates a host's key or, if it exists, reads the key and the host's last write."""
    seen = [_put(neighbours.place(session.fleet, session.host), "", lease)] if session.fleet else []
    success = [_put(session.key, value, lease), _put(session.writes, "0 0", lease), *seen]
    return {"compare": [created(session.key, 0)], "success": success, "failure": _read(session)}


def taking_over(session: Session, last: StoredKey, lease: int) -> Message:
    """Return the transaction that resumes after a `last` write and cancels pending writes of an earlier agent."""
    return _once({"success": []}, session, last.modified, f"{last.modified} 0", lease)


def _once(batch: Message, session: Session, revision: int, name: str, lease: int) -> Message:
    """Return a batch that etcd carries out only if the last write has this revision.

    Otherwise, the batch reads the last write.
    """
    last = {"key": coded(session.writes), "target": "MOD", "mod_revision": str(revision)}
    success = [*batch["success"], _put(session.writes, name, lease)]
    return {"compare": [created(session.key, session.created), last], "success": success, "failure": _read(session)}


def _put(key: str, value: str, lease: int) -> Message:
    return {"request_put": {"key": coded(key), "value": coded(value), "lease": str(lease)}}


def _read(session: Session) -> list[Message]:
    return [{"request_range": {"key": coded(key)}} for key in (session.key, session.writes)]


class Writes:
    """A host's writes in a session."""

    def __init__(self, session: Session) -> None:
        self.session, self._revision, self._number = session, session.written, 0
        self._sent = dict[str, int]()
        """Name of a batch sent for the next write → number of announcements in it."""

    def batch(self, batch: Message, announcements: int, lease: int) -> Message:
        """Return the batch as the next write, or as another try for the next write."""
        self._number += 1
        name = f"{self._revision} {self._number}"
        self._sent[name] = announcements
        return _once(batch, self.session, self._revision, name, lease)

    def carried_out(self, revision: int) -> None:
        """Record that the next write was carried out at this revision."""
        self._revision = revision
        self._sent.clear()

    def made(self, last: StoredKey) -> int:
        """Return the number of announcements made by the `last` write, whose answer was lost."""
        announcements = self._sent.get(last.value, 0)
        self.carried_out(last.modified)
        return announcements
