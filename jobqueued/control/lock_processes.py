"""The processes of people that hold locks, or wait for some (jobqueuectl with-lock), and the marks of those that do.

A mark is a file in the run directory: it tells the next scheduler who holds what, and is good while its process lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
from pathlib import Path

from jobqueued.child import atomic_file
from jobqueued.child.process import birth
from jobqueued.commands import MarkLockHolder
from jobqueued.events import LockFound, LockOver
from jobqueued.model import LockClientId, Now
from jobqueued.source import Source
from jobqueued.state.rows import claims_from, placed_from


class LockProcesses(Source):
    """The processes, each followed to its end.  `directory` holds the marks, a file for each, named by its number."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[int, LockClientId] = {}
        self._pids: dict[LockClientId, tuple[int, int]] = {}
        self._last = 0

    def found(self) -> list[LockFound]:
        """Those of before who live on; the marks of the others are removed."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        return [event for path in sorted(self._directory.iterdir()) if (event := self._found(path)) is not None]

    def _found(self, path: Path) -> LockFound | None:
        try:
            mark = json.loads(path.read_text())
            client, found = LockClientId(int(path.name)), (mark["pid"], mark["birth"])
            claims, placed = claims_from(mark["claims"]), placed_from(mark.get("placed", ()))
        except (OSError, ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
            return None
        self._last = max(self._last, client.number)
        if birth(found[0]) != found[1] or not self._follow(client, found[0]):
            path.unlink(missing_ok=True)
            return None
        return LockFound(client, claims, placed, str(mark["asked_by"]))

    def come(self, pid: int) -> LockClientId:
        """A name for a process that asks for locks; it is followed to its end.  OSError: it is gone."""
        self._last += 1
        client = LockClientId(self._last)
        if not self._follow(client, pid):
            raise ProcessLookupError
        return client

    def _follow(self, client: LockClientId, pid: int) -> bool:
        born = birth(pid)
        if born is None:
            return False
        try:
            self._processes[os.pidfd_open(pid)] = client
        except OSError:
            return False
        self._pids[client] = pid, born
        return True

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
            atomic_file.replace(str(path), json.dumps(mark).encode())
        except OSError as error:
            return f"{path}: {error.strerror}; this with-lock will be forgotten at a restart"
        return ""

    def descriptors(self) -> dict[int, int]:
        """One of each process, readable once that has ended."""
        return dict.fromkeys(self._processes, select.POLLIN)

    def ready(self, descriptor: int, now: Now) -> list[LockOver]:
        """Forget the process that has ended."""
        client = self._processes.pop(descriptor)
        os.close(descriptor)
        del self._pids[client]
        with contextlib.suppress(FileNotFoundError):
            (self._directory / str(client.number)).unlink()
        return [LockOver(client)]
