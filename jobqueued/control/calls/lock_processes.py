"""Processes that hold locks or wait for locks with `jobqueuectl with-lock`, and the marks of holders.

A mark is a file in the run directory. A mark informs the next scheduler which locks a live process holds.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import time
from pathlib import Path

from jobqueued.base.instants import SECOND
from jobqueued.child.contract import atomic_file, wire
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.processes.process import birth
from jobqueued.control.protocol.peers import Peer
from jobqueued.host.descriptors import is_spare
from jobqueued.model.commands import MarkLockHolder
from jobqueued.model.events import LockFound, LockOver
from jobqueued.model.job import Now
from jobqueued.model.run import LockClientId
from jobqueued.model.source import Source
from jobqueued.state.db.rows import claims_from, placed_from

_AGAIN = 10 * SECOND
_COMMAND = 4096
"""Maximum bytes read from a command line."""


OF_A_USER = 64
"""Maximum number of a user's with-lock commands; root and the daemon's own user have no limit."""


class LockProcess(NamedTuple):
    """A process that holds or waits for locks: its PID, its start time, its user, and its call's ticket."""

    pid: int
    birth: int
    uid: int = -1
    ticket: int = 0
    descriptor: int | None = None
    """A pidfd of the process, or None if no descriptor was free.

    Without a pidfd, the process is checked periodically.
    """


class LockProcesses(Source):
    """The processes, each watched until it ends.

    `directory` contains the marks, named by the numbers of the processes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._asked: dict[LockClientId, LockProcess] = {}
        self._descriptors: dict[int, LockClientId] = {}
        self._look_at = 0
        self._last = 0
        self._troubles: list[str] = []

    @property
    def troubles(self) -> list[str]:
        """Descriptions of the marks that could not be read."""
        return self._troubles

    def found(self) -> list[LockFound]:
        """Return the holders that outlived an earlier scheduler, and remove the marks of holders that ended."""
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            paths = sorted(self._directory.iterdir())
        except OSError as error:
            self._note(self._directory, error)
            return []
        return [event for path in paths if (event := self._found(path)) is not None]

    def _found(self, path: Path) -> LockFound | None:
        try:
            mark = json.loads(path.read_text())
            client, asked = LockClientId(int(path.name)), LockProcess(int(mark["pid"]), int(mark["birth"]))
            asked = asked._replace(uid=int(mark.get("uid", -1)))
            claims, placed = claims_from(mark["claims"]), placed_from(mark.get("placed", ()))
            since = int(mark.get("since", 0))
        except OSError as error:
            self._note(path, error)
            self._last = max(self._last, int(path.name) if path.name.isdecimal() else 0)
            return None
        except (ValueError, KeyError, TypeError, OverflowError):
            _remove(path)
            return None
        self._last = max(self._last, client.number)
        if not self._follow(client, asked):
            _remove(path)
            return None
        return LockFound(client, claims, placed, str(mark["asked_by"]), since)

    def _note(self, path: Path, error: OSError) -> None:
        text = f"{path}: {error.strerror}; the with-lock commands saved there lose their locks"
        self._troubles.append(text)

    def come(self, peer: Peer) -> LockClientId:
        """Return an ID for a process that requests locks, and watch the process until it ends or is forgotten.

        Raises OSError if the process can't be watched, and ProcessLookupError if it exited.
        """
        born = birth(peer.pid)
        if born is None or (peer.process >= 0 and _has_ended(peer.process)):  # if it lives, the PID is not reused
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if peer.process < 0:
            raise OSError(errno.EMFILE, "the daemon had no free file descriptor for the connection")
        of_user = sum(asked.uid == peer.uid for asked in self._asked.values())
        if of_user >= OF_A_USER and peer.uid not in (0, os.geteuid()):
            raise OSError(
                errno.EUSERS,
                f"{peer.name} has {of_user} with-lock commands, which is the limit; see: jobqueuectl locks",
            )
        descriptor = os.dup(peer.process)
        if not is_spare(descriptor):  # it has no locks yet, and can retry
            os.close(descriptor)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._last += 1
        client = LockClientId(self._last)
        self._note_asked(client, LockProcess(peer.pid, born, peer.uid, 0, descriptor))
        return client

    def waits(self, client: LockClientId, ticket: int) -> None:
        """Remember the ticket of a process that waits for its reply."""
        self._asked[client] = self._asked[client]._replace(ticket=ticket)

    def _note_asked(self, client: LockClientId, asked: LockProcess) -> None:
        self._asked[client] = asked
        if asked.descriptor is not None:
            self._descriptors[asked.descriptor] = client

    def _follow(self, client: LockClientId, asked: LockProcess) -> bool:
        """Watch a holder that outlived an earlier scheduler. Return False if it ended."""
        try:
            descriptor = os.pidfd_open(asked.pid)
        except OverflowError:  # no process has such a pid
            return False
        except OSError as error:
            return error.errno in wire.SHORTAGE and self._miss(client, asked)
        if birth(asked.pid) not in (asked.birth, None):  # None if no descriptor is free to read it
            os.close(descriptor)
            return False
        if not is_spare(descriptor):
            os.close(descriptor)
            return self._miss(client, asked)
        self._note_asked(client, asked._replace(descriptor=descriptor))
        return True

    def _miss(self, client: LockClientId, asked: LockProcess) -> bool:
        self._note_asked(client, asked)
        self._look_at = time.monotonic_ns() + _AGAIN
        return True

    @property
    def _unseen(self) -> list[LockClientId]:
        return [client for client, asked in self._asked.items() if asked.descriptor is None]

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) to check processes without a pidfd, or None if all processes have one."""
        return self._look_at if self._unseen else None

    def turn(self, now: Now) -> list[LockOver]:
        """Check processes without a pidfd."""
        return [self._over(client) for client in self._unseen if not self._follow(client, self._asked[client])]

    def left(self, ticket: int) -> LockOver | None:
        """Forget a process that disconnected before its reply.

        Return the event, or None if no process has the ticket.
        """
        gone = (client for client, asked in self._asked.items() if asked.ticket == ticket)
        client = next(gone, None)
        return None if client is None else self._over(client)

    def command_of(self, client: LockClientId) -> tuple[int, str] | None:
        """Return a process's PID and current command, or None if it ended."""
        asked = self._asked.get(client)
        if asked is None or (asked.descriptor is not None and _has_ended(asked.descriptor)):
            return None
        try:
            with open(f"/proc/{asked.pid}/cmdline", "rb") as file:
                words = file.read(_COMMAND).rstrip(b"\0").replace(b"\0", b" ")
        except OSError:
            return asked.pid, ""
        return asked.pid, words.decode(errors="replace")

    def mark(self, command: MarkLockHolder) -> str:
        """Write the mark of a holder. Return "", or the error if writing failed."""
        asked = self._asked.get(command.client)
        if asked is None:
            return ""  # it just left; its end is reported later
        mark = {
            "pid": asked.pid,
            "birth": asked.birth,
            "uid": asked.uid,
            "claims": command.claims,
            "placed": command.placed,
            "asked_by": command.asked_by,
            "since": command.since,
        }
        path = self._directory / str(command.client.number)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            atomic_file.replace(str(path), json.dumps(mark).encode())
        except OSError as error:
            return f"{path}: {error.strerror}; a restart of the daemon will release the locks of this with-lock command"
        return ""

    def descriptors(self) -> dict[int, int]:
        """Return the pidfd of each process, which becomes readable when the process ends."""
        return dict.fromkeys(self._descriptors, select.POLLIN)

    def ready(self, descriptor: int, now: Now) -> list[LockOver]:
        """Forget the process that ended."""
        client = self._descriptors.get(descriptor)
        return [] if client is None else [self._over(client)]

    def forget(self, client: LockClientId) -> None:
        """Stop watching a process and remove its mark; ignore an unknown ID."""
        asked = self._asked.pop(client, None)
        if asked is None:
            return
        if asked.descriptor is not None:
            del self._descriptors[asked.descriptor]
            os.close(asked.descriptor)
        _remove(self._directory / str(client.number))

    def _over(self, client: LockClientId) -> LockOver:
        self.forget(client)
        return LockOver(client)


def _has_ended(process: int) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # if this fails, the next start removes the mark
        path.unlink()
