"""R, the directory of one live attempt, read from the scheduler's side: how far it came, and what is left of it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Container, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard

from jobqueued import events
from jobqueued.child import cgroup, process, unix_socket, wire
from jobqueued.child.documents import UNSTARTED, Record, SlurmJob
from jobqueued.child.tuples import NamedTuple
from jobqueued.core.recollection import Damaged
from jobqueued.filenames import file_name, named_by_file
from jobqueued.model import Run, RunId, to_instant
from jobqueued.run_states import Unstarted
from jobqueued.runs import kin, marks
from jobqueued.runs.emptying import Emptying
from jobqueued.runs.kin import Clues
from jobqueued.state import record_files


class Name(NamedTuple):
    """An attempt's name, that of its R: ``backup@142.2``."""

    run: RunId
    attempt: int

    def __str__(self) -> str:
        return file_name(f"{self.run}.{self.attempt}")

    @classmethod
    def parse(cls, text: str) -> Name:
        """The inverse of str(); ValueError for anything else."""
        run, _, attempt = named_by_file(text).rpartition(".")
        if not (attempt.isascii() and attempt.isdigit()):
            raise ValueError(f"{text!r} is not an attempt")
        return cls(RunId.parse(run), int(attempt))


class RunDirectory:
    """All R's of this boot, and the record files that their supervisors write."""

    def __init__(self, runs: Path, logs: Path) -> None:
        self._runs, self.logs = str(runs), logs
        self._flaws: dict[str, None] = {}
        self.emptying = Emptying(self._runs)

    def names(self) -> list[Name]:
        """The attempts that have an R."""
        names = []
        for entry in os.scandir(self._runs):
            with contextlib.suppress(ValueError):
                if entry.is_dir(follow_symlinks=False):
                    names.append(Name.parse(entry.name))
        return sorted(names)

    def __contains__(self, name: Name) -> bool:
        """True of an attempt that has an R."""
        return os.path.isdir(f"{self._runs}/{name}")

    @contextlib.contextmanager
    def opened(self, name: Name) -> Iterator[int | None]:
        """A descriptor for R; None: there is none."""
        try:
            directory = wire.open_directory(f"{self._runs}/{name}")
        except FileNotFoundError:
            yield None
            return
        try:
            yield directory
        finally:
            os.close(directory)

    def follow(self, name: Name) -> socket.socket | None:
        """A connection to the attempt's supervisor; None: it does not listen (any more).

        OSError: it can't be told whether it does, as too many are connected to it, or there is no descriptor left.
        """
        with self.opened(name) as directory:
            return None if directory is None else unix_socket.connected(directory, wire.CONTROL)

    def left(self, *, tidy: bool = False) -> list[Name]:
        """The ended attempts of which processes live on (`leave_children`), their supervisors with them.

        `tidy`: the socket of a supervisor that is gone goes too; only the directory's owner does that.
        """
        directory = wire.open_directory(self._runs)
        try:
            beside = [entry for entry in os.listdir(directory) if entry.endswith(wire.LEFT)]
            live = [entry for entry in beside if _answers(directory, entry, tidy=tidy)]
            return sorted(Name.parse(entry.removesuffix(wire.LEFT)) for entry in live)
        finally:
            os.close(directory)

    def remove(self, name: Name) -> None:
        """Remove R; what is not there any more is fine.  OSError: a file that is no mark is in it."""
        path = f"{self._runs}/{name}"
        try:
            for mark in wire.USUAL:
                os.unlink(f"{path}/{mark}")
            os.rmdir(path)
        except OSError:  # it has fewer, or more
            for mark in wire.MARKS:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{path}/{mark}")
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)

    def end(self, name: Name) -> events.Event | None:
        """The event that R/ended stands for; None: no end yet.  One that can't be read is an end all the same."""
        data = self._read(name, wire.ENDED)
        if not is_whole(data):
            return None
        try:
            return ended(name, marks.record(data, name.run))
        except Damaged as flaw:
            return self.lost(name, f"its end can't be read: {flaw}")

    def over(self, end: events.RunEnded | events.RunLost) -> int:
        """The instant (CLOCK_BOOTTIME, ns) of an end by R/ended; else that of its record, or of R/lost, as far as the
        wall clock was not set since; else now.
        """
        name, now = Name(end.run, end.attempt), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        data = self._read(name, wire.ENDED)
        if data is not None and (instant := marks.over(data)) is not None:
            return instant
        if isinstance(end, events.RunEnded) and (told := end.record["ended"]) is not None:
            return to_instant(datetime.fromisoformat(told)) - time.time_ns() + now
        with contextlib.suppress(OSError):
            return os.stat(f"{self._runs}/{name}/{wire.LOST}").st_mtime_ns - time.time_ns() + now
        return now

    def record(self, name: Name) -> Record | None:
        """The record in R/ended; None: there is none that can be read."""
        data = self._read(name, wire.ENDED)
        with contextlib.suppress(Damaged):
            return marks.record(data, name.run) if is_whole(data) else None
        return None

    def begun(self, name: Name) -> Record | None:
        """The record so far in the launch spec; None: there is none that can be read."""
        data = self._read(name, wire.SPEC)
        with contextlib.suppress(Damaged):
            return marks.spec(data)["record"] if is_whole(data) else None
        return None

    def sent(self, name: Name) -> Run | None:
        """The run of an attempt as it was sent, by R/spec, or by its record in R/ended; None: neither tells."""
        data = self._read(name, wire.SPEC)
        if is_whole(data):
            try:
                return marks.sent(data, name.run)
            except Damaged as flaw:
                self._note(name, wire.SPEC, f"{flaw}; nothing is known of its run")
        end = self.record(name)
        with contextlib.suppress(Damaged):
            return None if end is None else marks.of_record(end, name.run)
        return None

    def sent_beside(self, known: Container[RunId]) -> Iterator[Run]:
        """Yield the runs beside those that are `known` as they were sent last, as far as their R's tell."""
        for name in self.names():
            if name.run not in known and (sent := self.sent(name)) is not None:
                yield sent

    def has_begun(self, name: Name) -> bool:
        """Tell whether an attempt may have started, by its marks."""
        with self.opened(name) as directory:
            return directory is not None and (wire.may_have_started(directory) or self._has_ended(name))

    def started(self, name: Name) -> events.RunStarted | None:
        """The start, by R/pid; None: the process was not started, or its supervisor did not come to write it."""
        mark = self._pid(name)
        return None if mark is None else events.RunStarted(*name, mark.pid, mark.started)

    def supervisor(self, name: Name) -> int | None:
        """The process that R/pid says; None: it says none, or that has ended, or R has its end."""
        mark = self._pid(name)
        if mark is None or mark.supervisor is None or self._has_ended(name):
            return None
        born = process.birth(mark.supervisor)
        return mark.supervisor if born is not None and born <= mark.after // process.TICK + 1 else None

    def lost(self, name: Name, reason: str, status: int | None = None) -> events.AttemptOver:
        """The end of an attempt without a supervisor: perhaps it came as far as the record file; else it is lost.

        OSError as of any mark.
        """
        with contextlib.suppress(Damaged):
            document = marks.checked(record_files.read(self.logs, name.run), name.run)
            if any(attempt["attempt"] == name.attempt for attempt in document["attempts"]):
                return ended(name, document)
        output = record_files.found_output(self.logs, name.run)
        return events.RunLost(*name, reason, status, output, self.telemetry(name))

    def telemetry(self, name: Name) -> dict[str, Any] | None:
        """The telemetry of an attempt so far; None: there is none that can be read.  OSError as of any mark."""
        data = self._read(name, wire.TELEMETRY)
        with contextlib.suppress(Damaged):
            return marks.telemetry(data) if is_whole(data) else None
        return None

    def slurm(self, name: Name) -> SlurmJob | None:
        """The job on Slurm that an attempt is; None: none that can be read.  OSError as of any mark."""
        data = self._read(name, wire.SLURM)
        with contextlib.suppress(Damaged):
            return marks.slurm(data) if is_whole(data) else None
        return None

    def clues(self, name: Name) -> Clues:
        """The clues to what may live of it, once its supervisor is dead."""
        main, spawning = self._pid(name), self._spawning(name)
        if spawning is None:  # of an older version, or there was no room
            since = self._made(name) if main is None else kin.ticks(main.before)
            return Clues(since, self._identity(name), _born(main), None, None, self._title(name), self._on_slurm(name))
        base = (cgroup.unified(spawning.cgroups) or "").removesuffix("/self")
        own = f"{base}/{self._above(name)}{name}" if spawning.own else None
        before, identity = kin.ticks(spawning.before), self._identity(name)
        return Clues(before, identity, _born(main), own, spawning.cgroups, self._title(name), self._on_slurm(name))

    def clues_without(self, name: Name, since: int = 0) -> Clues:
        """The same where there is no R; `since`: nothing of it is older (ticks)."""
        return Clues(since, kin.identity_of(str(name.run), name.attempt), title=self._title(name))

    def _title(self, name: Name) -> tuple[str, str]:
        return str(name), self._runs

    def _identity(self, name: Name) -> dict[str, str]:
        data = self._read(name, wire.SPEC)
        with contextlib.suppress(Damaged):
            if is_whole(data):
                return kin.identity(marks.spec(data).get("environment"))
        return kin.identity_of(str(name.run), name.attempt)

    def _on_slurm(self, name: Name) -> bool:
        data = self._read(name, wire.SPEC)
        with contextlib.suppress(Damaged):
            return is_whole(data) and bool(marks.spec(data).get("slurm"))
        return False

    def _above(self, name: Name) -> str:
        """The cgroup of a user in which it has its own, ``u1000/``; "": in none."""
        data = self._read(name, wire.SPEC)
        with contextlib.suppress(Damaged):
            above = marks.spec(data).get("above") if is_whole(data) else None
            return f"{above['name']}/" if isinstance(above, dict) and "name" in above else ""
        return ""

    def _spawning(self, name: Name) -> wire.SpawningMark | None:
        data = self._read(name, wire.SPAWNING)
        return None if data is None else wire.SpawningMark.parse(data)

    def _made(self, name: Name) -> int:
        """The tick before the oldest mark was made, as R/spec is before anything starts; 0: none is there."""
        with contextlib.suppress(FileNotFoundError), os.scandir(f"{self._runs}/{name}") as marks_of:
            times = [entry.stat(follow_symlinks=False).st_mtime_ns for entry in marks_of]
            return kin.since(min(times)) if times else 0
        return 0

    def _has_ended(self, name: Name) -> bool:
        with self.opened(name) as directory:
            return directory is None or wire.read_mark(directory, wire.ENDED) is not None

    def _pid(self, name: Name) -> wire.PidMark | None:
        data = self._read(name, wire.PID)
        mark = None if data is None else wire.PidMark.parse(data)
        if mark is None and is_whole(data):
            self._note(name, wire.PID, "it names no processes; its own are looked for without it")
        return mark

    def _read(self, name: Name, mark: str) -> bytes | None:
        """A mark's content; None: not there, or it can't be read.  OSError: it can't be told now."""
        try:
            return wire.read_mark(None, f"{self._runs}/{name}/{mark}")
        except OSError as error:
            if error.errno in wire.SHORTAGE:
                raise
            self._note(name, mark, str(error.strerror))
            return None

    def _note(self, name: Name, mark: str, text: str) -> None:
        self._flaws[f"{self._runs}/{name}/{mark}: {text}"] = None

    def flaws(self) -> list[str]:
        """The marks with which something is wrong, and what follows from it; each is told once."""
        told = list(self._flaws)
        self._flaws.clear()
        return told


def is_whole(data: bytes | None) -> TypeGuard[bytes]:
    """True of a mark that is there, and whose writer came to its end."""
    return data is not None and data.endswith(b"\n")


def _answers(directory: int, name: str, *, tidy: bool) -> bool:
    connection = unix_socket.connected(directory, name)
    if connection is None:
        with contextlib.suppress(FileNotFoundError):
            if tidy:
                os.unlink(name, dir_fd=directory)
        return False
    connection.close()
    return True


def ended(name: Name, document: Record) -> events.AttemptOver:
    """The event that an attempt's final record stands for."""
    if document["state"] == UNSTARTED:
        return events.NeverStarted(*name, document["reason"] or "", Unstarted.TROUBLE)
    return events.RunEnded(*name, document)


def _born(mark: wire.PidMark | None) -> tuple[int, int, int] | None:
    return None if mark is None else (mark.pid, kin.ticks(mark.before), mark.after // process.TICK + 1)
