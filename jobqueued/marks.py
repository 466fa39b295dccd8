"""R, the directory of one live attempt, read from the scheduler's side: how far it came, and what is left of it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jobqueued import events, runlog
from jobqueued.child import wire
from jobqueued.model import SECOND, Record, RunId

IDENTITY = ("key", "due", "queued", "trigger", "asked_by")
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


class Marks:
    """All R's of this boot, and the record files that their supervisors write."""

    def __init__(self, runs: Path, logs: Path) -> None:
        self._runs, self._logs = runs, logs

    def names(self) -> list[Name]:
        """The attempts that have an R."""
        names = []
        for entry in os.scandir(self._runs):
            with contextlib.suppress(ValueError):
                names.append(Name.parse(entry.name))
        return sorted(names)

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

    def remove(self, name: Name) -> None:
        """Remove R; what is not there any more is fine."""
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
        return None if spec is None else events.Found(*name, **{field: spec["run"][field] for field in IDENTITY})

    def started(self, name: Name) -> events.RunStarted | None:
        """What R/pid says; None: the process was not started, or its supervisor did not come to write it."""
        mark = self._pid(name)
        return None if mark is None else events.RunStarted(*name, mark[0], mark[1])

    def lost(self, name: Name, reason: str, status: int | None = None) -> events.Event:
        """The end of an attempt without a supervisor: perhaps it came as far as the record file; else it is lost."""
        document = runlog.read(self._logs, name.run)
        if document is not None and any(attempt["attempt"] == name.attempt for attempt in document["attempts"]):
            return ended(name, document)
        return events.RunLost(*name, reason, status)

    def kill(self, name: Name) -> None:
        """End the session of the process that R/pid names, if it is still that process."""
        mark = self._pid(name)
        if mark is not None and _is_process(mark[0], mark[2], mark[3]):
            with contextlib.suppress(OSError):
                process = os.pidfd_open(mark[0])
                os.killpg(mark[0], signal.SIGKILL)
                select.select([process], [], [], _KILL_SECONDS)
                os.close(process)

    def _pid(self, name: Name) -> tuple[int, int, int, int] | None:
        with self.opened(name) as directory:
            data = None if directory is None else wire.read_mark(directory, wire.PID)
        if not data or not data.endswith(b"\n"):
            return None
        pid, started, before, after = map(int, data.split())
        return pid, started, before, after


def ended(name: Name, document: Record) -> events.Event:
    """The event that an attempt's final record stands for."""
    if document["state"] == wire.UNSTARTED:
        return events.NeverStarted(*name, document["reason"])
    return events.RunEnded(*name, document)


def _is_process(pid: int, before: int, after: int) -> bool:
    """Whether `pid` is still the process that was spawned between two CLOCK_BOOTTIME instants (proc(5), starttime)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
    except OSError:
        return False
    tick = SECOND // os.sysconf("SC_CLK_TCK")
    return before // tick - 1 <= ticks <= after // tick + 1
