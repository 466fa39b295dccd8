"""R, the directory of one live attempt, read from the scheduler's side: how far it came, and what is left of it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jobqueued import events
from jobqueued.child import process, unix_socket, wire
from jobqueued.model import Record, RunId
from jobqueued.state import record_files
from jobqueued.state.store import claims_from, placed_from

IDENTITY = ("key", "due", "queued", "trigger", "asked_by", "failover", "claims", "placed", "ends_by")
"""The fields of a Run that its launch order carries, so that R alone can tell whose it is."""

_KILL_SECONDS = 2.0


class Name(NamedTuple):
    """An attempt's name, that of its R: ``backup@142.2``."""

    run: RunId
    attempt: int

    def __str__(self) -> str:
        return f"{self.run}.{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> Name:
        """The inverse of str(); ValueError for anything else."""
        run, _, attempt = text.rpartition(".")
        if not (attempt.isascii() and attempt.isdigit()):
            raise ValueError(f"{text!r} is not an attempt")
        return cls(RunId.parse(run), int(attempt))


class _Pid(NamedTuple):
    """What R/pid says: two processes, when the first was started (wall, ns), and between which instants (BOOTTIME)."""

    pid: int
    started: int
    before: int
    after: int
    supervisor: int | None = None
    """Which supervisors of older versions did not say."""


class RunDirectory:
    """All R's of this boot, and the record files that their supervisors write."""

    def __init__(self, runs: Path, logs: Path) -> None:
        self._runs, self.logs = runs, logs

    def names(self) -> list[Name]:
        """The attempts that have an R."""
        names = []
        for entry in os.scandir(self._runs):
            with contextlib.suppress(ValueError):
                if entry.is_dir(follow_symlinks=False):
                    names.append(Name.parse(entry.name))
        return sorted(names)

    def __contains__(self, name: Name) -> bool:
        """Whether the attempt has an R."""
        return os.path.isdir(f"{self._runs}/{name}")

    @contextlib.contextmanager
    def opened(self, name: Name) -> Iterator[int | None]:
        """A descriptor for R; None: there is none."""
        try:
            directory = wire.open_directory(str(self._runs / str(name)))
        except FileNotFoundError:
            yield None
            return
        try:
            yield directory
        finally:
            os.close(directory)

    def follow(self, name: Name) -> socket.socket | None:
        """A connection to the attempt's supervisor; None: it does not listen (any more)."""
        with self.opened(name) as directory:
            return None if directory is None else unix_socket.connected(directory, wire.CONTROL)

    def left(self) -> list[Name]:
        """The ended attempts of which processes live on (`leave_children`), their supervisors with them."""
        directory = wire.open_directory(str(self._runs))
        try:
            beside = [entry for entry in os.listdir(directory) if entry.endswith(wire.LEFT)]
            return sorted(Name.parse(entry.removesuffix(wire.LEFT)) for entry in beside if _answers(directory, entry))
        finally:
            os.close(directory)

    def remove(self, name: Name) -> None:
        """Remove R; what is not there any more is fine.  OSError: somebody else's file is in it."""
        path = f"{self._runs}/{name}"
        for mark in wire.MARKS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}/{mark}")
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(path)

    def end(self, name: Name) -> events.Event | None:
        """What R/ended says; None: no end yet."""
        with self.opened(name) as directory:
            document = None if directory is None else wire.read_document(directory, wire.ENDED)
        return None if document is None else ended(name, document)

    def found(self, name: Name) -> events.Found | None:
        """Whose attempt it is, by its launch order; None: the launcher did not come to write it."""
        with self.opened(name) as directory:
            spec = None if directory is None else wire.read_document(directory, wire.SPEC)
        return None if spec is None else events.Found(*name, **_identity(spec["run"]))

    def started(self, name: Name) -> events.RunStarted | None:
        """What R/pid says; None: the process was not started, or its supervisor did not come to write it."""
        mark = self._pid(name)
        return None if mark is None else events.RunStarted(*name, mark.pid, mark.started)

    def supervisor(self, name: Name) -> int | None:
        """The process that R/pid says; None: it says none, or that has ended, or R has its end."""
        mark = self._pid(name)
        if mark is None or mark.supervisor is None or self._has_ended(name):
            return None
        born = process.birth(mark.supervisor)
        return mark.supervisor if born is not None and born <= mark.after // process.TICK + 1 else None

    def lost(self, name: Name, reason: str, status: int | None = None) -> events.Event:
        """The end of an attempt without a supervisor: perhaps it came as far as the record file; else it is lost."""
        document = record_files.read(self.logs, name.run)
        attempts = [] if document is None else document.get("attempts", [])
        if document is not None and any(attempt.get("attempt") == name.attempt for attempt in attempts):
            return ended(name, document)
        return events.RunLost(*name, reason, status, record_files.found_output(self.logs, name.run))

    def kill(self, name: Name) -> None:
        """End what is left of the session that R/pid names.

        Its number is nobody else's while a process of it lives; if the leader is another than we started, none does.
        """
        mark = self._pid(name)
        if mark is None:
            return
        born = process.birth(mark.pid)
        if born is not None and not _between(born, mark.before, mark.after):
            return
        for pid in _session(mark.pid, mark.before):
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(pid)
                os.kill(pid, signal.SIGKILL)
                select.select([descriptor], [], [], _KILL_SECONDS)
                os.close(descriptor)

    def _has_ended(self, name: Name) -> bool:
        with self.opened(name) as directory:
            return directory is None or wire.read_mark(directory, wire.ENDED) is not None

    def _pid(self, name: Name) -> _Pid | None:
        with self.opened(name) as directory:
            data = None if directory is None else wire.read_mark(directory, wire.PID)
        return _Pid(*map(int, data.split())) if data and data.endswith(b"\n") else None


def _identity(told: Record) -> dict[str, Any]:
    """The fields of a Run in a launch order, which may be an older version's."""
    known = {field: told[field] for field in IDENTITY if field in told}
    claims, placed = claims_from(known.get("claims", ())), placed_from(known.get("placed", ()))
    return {**known, "claims": claims, "placed": placed}


def _answers(directory: int, name: str) -> bool:
    """Whether its supervisor lives; the socket of a dead one goes."""
    connection = unix_socket.connected(directory, name)
    if connection is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        return False
    connection.close()
    return True


def ended(name: Name, document: Record) -> events.Event:
    """The event that an attempt's final record stands for."""
    if document["state"] == wire.UNSTARTED:
        return events.NeverStarted(*name, document["reason"])
    return events.RunEnded(*name, document)


def _between(ticks: int, before: int, after: int) -> bool:
    """Whether a birth falls between two instants of CLOCK_BOOTTIME (ns)."""
    return before // process.TICK - 1 <= ticks <= after // process.TICK + 1


def _session(leader: int, since: int) -> list[int]:
    """The processes of a session that were started since then (CLOCK_BOOTTIME, ns)."""
    members = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        found = process.stat(pid)
        if found is not None and found.session == leader and found.birth >= since // process.TICK - 1:
            members.append(pid)
    return members
