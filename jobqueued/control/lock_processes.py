"""The processes of people that hold locks, or wait for some (jobqueuectl with-lock), and the marks of those that do.

A mark is a file in the run directory: it tells the next scheduler who holds what, and is good while its process lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
from pathlib import Path

from jobqueued.commands import MarkLockHolder
from jobqueued.events import LockFound, LockOver
from jobqueued.model import Now, RunId
from jobqueued.runs.run_directory import birth
from jobqueued.source import Source
from jobqueued.state.store import claims_from, placed_from

NAME = ":with-lock"


class LockProcesses(Source):
    """The processes, each followed to its end.  `directory` holds the marks, a file for each, named by its number."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[int, RunId] = {}
        self._pids: dict[RunId, tuple[int, int]] = {}
        self._last = 0

    def found(self) -> list[LockFound]:
        """Those of before who live on; the marks of the others are removed."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        return [event for path in sorted(self._directory.iterdir()) if (event := self._found(path)) is not None]

    def _found(self, path: Path) -> LockFound | None:
        try:
            mark = json.loads(path.read_text())
            guest, found = RunId(NAME, int(path.name)), (mark["pid"], mark["birth"])
            claims, placed = claims_from(mark["claims"]), placed_from(mark.get("placed", ()))
        except (OSError, ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
            return None
        self._last = max(self._last, guest.number)
        if birth(found[0]) != found[1] or not self._follow(guest, found[0]):
            path.unlink(missing_ok=True)
            return None
        return LockFound(guest, claims, placed, str(mark["asked_by"]))

    def come(self, pid: int) -> RunId:
        """A name for a process that asks for locks; it is followed to its end.  OSError: it is gone."""
        self._last += 1
        guest = RunId(NAME, self._last)
        if not self._follow(guest, pid):
            raise ProcessLookupError
        return guest

    def _follow(self, guest: RunId, pid: int) -> bool:
        born = birth(pid)
        if born is None:
            return False
        try:
            self._processes[os.pidfd_open(pid)] = guest
        except OSError:
            return False
        self._pids[guest] = pid, born
        return True

    def welcome(self, command: MarkLockHolder) -> str:
        """Mark what it holds; why that can't be, "" where it can."""
        if command.guest not in self._pids:
            return ""  # it has just left, which is about to be heard
        pid, born = self._pids[command.guest]
        mark = {
            "pid": pid, "birth": born, "claims": command.claims, "placed": command.placed,
            "asked_by": command.asked_by,
        }  # fmt: skip
        path = self._directory / str(command.guest.number)
        try:
            path.with_suffix(".new").write_text(json.dumps(mark))
            path.with_suffix(".new").rename(path)
        except OSError as error:
            return f"{path}: {error.strerror}; after a restart nobody knows of that with-lock"
        return ""

    def descriptors(self) -> dict[int, int]:
        """One of each process, readable once that has ended."""
        return dict.fromkeys(self._processes, select.POLLIN)

    def ready(self, descriptor: int, now: Now) -> list[LockOver]:
        """Forget the process that has ended."""
        guest = self._processes.pop(descriptor)
        os.close(descriptor)
        del self._pids[guest]
        with contextlib.suppress(FileNotFoundError):
            (self._directory / str(guest.number)).unlink()
        return [LockOver(guest)]
