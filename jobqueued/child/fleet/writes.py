"""The writes of a host, each of which etcd carries out once, however often it comes there, and however late.  Pure.

    /jq/writes/HOST            REVISION NUMBER   the host's last write; lives as long as its session does

A member of etcd that stood still carries out what it was asked before: after another was asked the same, and after
whatever came then.  That a key is not there is no guard against that: it was there meanwhile.  So each write of a host
changes a key of its own, and goes only by the revision that the one before has given to that: of all that was sent in
the place of one write a single one is carried out, and none once the host went on.  The value tells which it was.
"""

from __future__ import annotations

from jobqueued.child.fleet import neighbours
from jobqueued.child.fleet.claims import Found, Session, created
from jobqueued.child.fleet.wire import Message, coded


def opening(session: Session, value: str, lease: int) -> Message:
    """The transaction that makes the key of a host, if there is none; else it reads that, and the host's last write."""
    seen = [_put(neighbours.place(session.fleet, session.host), "", lease)] if session.fleet else []
    success = [_put(session.key, value, lease), _put(session.writes, "0 0", lease), *seen]
    return {"compare": [created(session.key, 0)], "success": success, "failure": _read(session)}


def taking_over(session: Session, last: Found, lease: int) -> Message:
    """The transaction by which an agent goes on after a `last` write: nothing that an earlier one has sent is carried
    out any more.
    """
    return _once({"success": []}, session, last.modified, f"{last.modified} 0", lease)


def _once(batch: Message, session: Session, revision: int, name: str, lease: int) -> Message:
    """A batch that is carried out only after the write of that revision; else it reads what the last was."""
    last = {"key": coded(session.writes), "target": "MOD", "mod_revision": str(revision)}
    success = [*batch["success"], _put(session.writes, name, lease)]
    return {"compare": [created(session.key, session.created), last], "success": success, "failure": _read(session)}


def _put(key: str, value: str, lease: int) -> Message:
    return {"request_put": {"key": coded(key), "value": coded(value), "lease": str(lease)}}


def _read(session: Session) -> list[Message]:
    return [{"request_range": {"key": coded(key)}} for key in (session.key, session.writes)]


class Writes:
    """Those of a host in a session."""

    def __init__(self, session: Session) -> None:
        self.session, self._revision, self._number = session, session.written, 0
        self._sent = dict[str, int]()
        """What was sent in the place of the next write, by its name, and how many announcements are in it."""

    def batch(self, batch: Message, announcements: int, lease: int) -> Message:
        """A batch as the next write, or in its place."""
        self._number += 1
        name = f"{self._revision} {self._number}"
        self._sent[name] = announcements
        return _once(batch, self.session, self._revision, name, lease)

    def carried_out(self, revision: int) -> None:
        """It was, by that revision."""
        self._revision = revision
        self._sent.clear()

    def made(self, last: Found) -> int:
        """The number of announcements that were made by the `last` write, which has had no answer yet."""
        announcements = self._sent.get(last.value, 0)
        self.carried_out(last.modified)
        return announcements
