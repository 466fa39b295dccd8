"""The processes of people that hold locks, or wait for some (jobqueuectl with-lock), and the marks of those that do.

A mark is a file in the run directory: it tells the next scheduler who holds what, and is good while its process lives.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import time
from pathlib import Path

from jobqueued.child import atomic_file, wire
from jobqueued.child.process import birth
from jobqueued.commands import MarkLockHolder
from jobqueued.events import LockFound, LockOver
from jobqueued.host.descriptors import is_spare
from jobqueued.model import SECOND, LockClientId, Now
from jobqueued.source import Source
from jobqueued.state.rows import claims_from, placed_from

_AGAIN = 10 * SECOND


class LockProcesses(Source):
    """The processes, each followed to its end.  `directory` holds the marks, a file for each, named by its number.

    `troubles` are the marks of which nothing can be told, for people.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[int, LockClientId] = {}
        self._pids: dict[LockClientId, tuple[int, int]] = {}
        self._unseen: set[LockClientId] = set()
        """Those for which there is no descriptor: they count as live, and are looked at again."""
        self._look_at = 0
        self._last = 0
        self.troubles: list[str] = []

    def found(self) -> list[LockFound]:
        """Those of before who live on; the marks of the others are removed."""
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
            client, found = LockClientId(int(path.name)), (int(mark["pid"]), int(mark["birth"]))
            claims, placed = claims_from(mark["claims"]), placed_from(mark.get("placed", ()))
        except OSError as error:
            self._note(path, error)
            self._last = max(self._last, int(path.name) if path.name.isdecimal() else 0)
            return None
        except (ValueError, KeyError, TypeError, OverflowError):
            _remove(path)
            return None
        self._last = max(self._last, client.number)
        if not self._follow(client, *found):
            _remove(path)
            return None
        return LockFound(client, claims, placed, str(mark["asked_by"]))

    def _note(self, path: Path, error: OSError) -> None:
        text = f"{path}: {error.strerror}; locks of with-lock commands that it tells of are not kept for them"
        self.troubles.append(text)

    def come(self, pid: int) -> LockClientId:
        """A name for a process that asks for locks; it is followed to its end.

        OSError: it can't be; ProcessLookupError: it is gone.
        """
        self._last += 1
        client, born = LockClientId(self._last), birth(pid)
        if born is None or not self._follow(client, pid, born):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if client in self._unseen:  # it has no locks yet, and can ask again
            self._unseen.discard(client)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return client

    def _follow(self, client: LockClientId, pid: int, born: int) -> bool:
        """Follow a process to its end; False: it has ended.  Where there is no descriptor for it, it is `_unseen`."""
        self._pids[client] = pid, born
        self._unseen.discard(client)
        try:
            descriptor = os.pidfd_open(pid)
        except OverflowError:  # no process has such a number
            return False
        except OSError as error:
            return error.errno in wire.SHORTAGE and self._miss(client)
        if birth(pid) not in (born, None):  # None: there is no descriptor to read it, for one that is there
            os.close(descriptor)
            return False
        if not is_spare(descriptor):
            os.close(descriptor)
            return self._miss(client)
        self._processes[descriptor] = client
        return True

    def _miss(self, client: LockClientId) -> bool:
        self._unseen.add(client)
        self._look_at = time.monotonic_ns() + _AGAIN
        return True

    @property
    def deadline(self) -> int | None:
        """The time to look again at those who can't be followed."""
        return self._look_at if self._unseen else None

    def turn(self, now: Now) -> list[LockOver]:
        """Look at them."""
        gone = [client for client in list(self._unseen) if not self._follow(client, *self._pids[client])]
        return [self._over(client) for client in gone]

    def mark(self, command: MarkLockHolder) -> str:
        """Mark what it holds; why that can't be, "" where it can."""
        if command.client not in self._pids:
            return ""  # it has just left, which is about to be heard
        pid, born = self._pids[command.client]
        mark = {
            "pid": pid, "birth": born, "claims": command.claims, "placed": command.placed,
            "asked_by": command.asked_by,
        }  # fmt: skip
        path = self._directory / str(command.client.number)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            atomic_file.replace(str(path), json.dumps(mark).encode())
        except OSError as error:
            return f"{path}: {error.strerror}; this with-lock will be forgotten at a restart"
        return ""

    def descriptors(self) -> dict[int, int]:
        """One of each process, readable once that has ended."""
        return dict.fromkeys(self._processes, select.POLLIN)

    def ready(self, descriptor: int, now: Now) -> list[LockOver]:
        """Forget the process that has ended."""
        os.close(descriptor)
        return [self._over(self._processes.pop(descriptor))]

    def _over(self, client: LockClientId) -> LockOver:
        del self._pids[client]
        _remove(self._directory / str(client.number))
        return LockOver(client)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # where it can't be: the next start knows that its process is gone
        path.unlink()
