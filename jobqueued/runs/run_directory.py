"""R, the directory of one live attempt, as the scheduler reads it: the attempt's progress and its end."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Container, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard

from jobqueued.base.filenames import file_name, named_by_file
from jobqueued.base.instants import to_instant
from jobqueued.child.contract import unix_socket, wire
from jobqueued.child.contract.documents import UNSTARTED, Record, SlurmJob
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.processes import cgroup, process
from jobqueued.core.records.record_checks import Damaged, checked_end
from jobqueued.model import events
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.runs import leftover_processes, marks
from jobqueued.runs.emptying import Emptying
from jobqueued.runs.leftover_processes import Clues
from jobqueued.state import record_files


class Name(NamedTuple):
    """An attempt's name, which is also the name of its R: ``backup@142.2``."""

    run: RunId
    attempt: int

    def __str__(self) -> str:
        return file_name(f"{self.run}.{self.attempt}")

    @classmethod
    def parse(cls, text: str) -> Name:
        """Return the name whose str() is `text`. Raises ValueError if `text` is not a name."""
        run, _, attempt = named_by_file(text).rpartition(".")
        if not (attempt.isascii() and attempt.isdigit()):
            raise ValueError(f"{text!r} is not an attempt")
        return cls(RunId.parse(run), int(attempt))


class RunDirectory:
    """All R of this boot, and the record files that their supervisors write."""

    def __init__(self, runs: Path, logs: Path) -> None:
        self._runs, self.logs = str(runs), logs
        self._flaws: dict[str, None] = {}
        self.emptying = Emptying(self._runs)

    def names(self) -> list[Name]:
        """Return the attempts that have an R."""
        names = []
        for entry in os.scandir(self._runs):
            with contextlib.suppress(ValueError):
                if entry.is_dir(follow_symlinks=False):
                    names.append(Name.parse(entry.name))
        return sorted(names)

    def __contains__(self, name: Name) -> bool:
        """Return whether an attempt has an R."""
        return os.path.isdir(f"{self._runs}/{name}")

    @contextlib.contextmanager
    def opened(self, name: Name) -> Iterator[int | None]:
        """Yield a descriptor for R, or None if R does not exist."""
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
        """Return a connection to the attempt's supervisor, or None if the supervisor does not listen.

        Raises OSError if neither is certain, because too many connections wait or no descriptor is free.
        """
        with self.opened(name) as directory:
            return None if directory is None else unix_socket.connected(directory, wire.CONTROL)

    def left(self, *, tidy: bool = False) -> list[Name]:
        """Return ended attempts with live processes and a live supervisor (`leave_children`), and those whose
        supervisor can't be checked now. Raises OSError if the directory can't be read.

        `tidy`: whether to remove the sockets of dead supervisors too, which only the directory's owner may do.
        """
        directory = wire.open_directory(self._runs)
        try:
            return [name for name in self.beside() if _answers(directory, f"{name}{wire.LEFT}", tidy=tidy)]
        finally:
            os.close(directory)

    def beside(self) -> list[Name]:
        """Return the ended attempts with a socket next to R, whether or not a supervisor listens there."""
        entries = os.listdir(self._runs)
        return sorted(Name.parse(entry.removesuffix(wire.LEFT)) for entry in entries if entry.endswith(wire.LEFT))

    def follow_left(self, name: Name) -> socket.socket | None:
        """Return a connection to the supervisor that stays after its attempt, or None if no supervisor stays.

        Raises OSError as `follow` does.
        """
        directory = wire.open_directory(self._runs)
        try:
            return unix_socket.connected(directory, f"{name}{wire.LEFT}")
        finally:
            os.close(directory)

    def remove(self, name: Name) -> None:
        """Remove R if it exists. Raises OSError if R contains a file that is not a mark."""
        path = f"{self._runs}/{name}"
        try:
            for mark in wire.USUAL:
                os.unlink(f"{path}/{mark}")
            os.rmdir(path)
        except OSError:  # R has unusual marks
            for mark in wire.MARKS:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{path}/{mark}")
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)

    def end(self, name: Name) -> events.Event | None:
        """Return the event that R/ended reports, or None if the attempt has not ended. An unreadable R/ended also
        counts as an end.
        """
        data = self._read(name, wire.ENDED)
        if not is_whole(data):
            return None
        try:
            return ended(name, marks.record(data, name.run))
        except Damaged as flaw:
            return self.lost(name, Reason(Code.END_UNREADABLE, why=str(flaw)))

    def over(self, end: events.RunEnded | events.RunLost) -> int:
        """Return the instant (CLOCK_BOOTTIME, ns) of an end: from R/ended, else from the record or R/lost, else now.

        The instants from the record and R/lost are right only if the wall clock was not set since the end.
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
        """Return the record in R/ended, or None if it is missing or unreadable."""
        data = self._read(name, wire.ENDED)
        with contextlib.suppress(Damaged):
            return marks.record(data, name.run) if is_whole(data) else None
        return None

    def begun(self, name: Name) -> Record | None:
        """Return the record so far from the launch spec, or None if the spec is missing or unreadable."""
        data = self._read(name, wire.SPEC)
        with contextlib.suppress(Damaged):
            return marks.spec(data)["record"] if is_whole(data) else None
        return None

    def sent(self, name: Name) -> Run | None:
        """Return an attempt's run as it was launched, from R/spec or the record in R/ended, or None if both are
        unreadable.
        """
        data = self._read(name, wire.SPEC)
        if is_whole(data):
            try:
                return marks.sent(data, name.run)
            except Damaged as flaw:
                self._note(name, wire.SPEC, f"{flaw}; its run is unknown")
        end = self.record(name)
        with contextlib.suppress(Damaged):
            return None if end is None else marks.of_record(end, name.run)
        return None

    def sent_beside(self, known: Container[RunId]) -> Iterator[Run]:
        """Yield the runs that are not `known` but have an R, as they were last launched."""
        for name in self.names():
            if name.run not in known and (sent := self.sent(name)) is not None:
                yield sent

    def has_begun(self, name: Name) -> bool:
        """Return whether an attempt may have started, according to its marks."""
        with self.opened(name) as directory:
            return directory is not None and (wire.may_have_started(directory) or self._has_ended(name))

    def started(self, name: Name) -> events.RunStarted | None:
        """Return the event about the start, from R/pid, or None if the process did not start or R/pid was not
        written.
        """
        mark = self._pid(name)
        return None if mark is None else events.RunStarted(*name, mark.pid, mark.started)

    def supervisor(self, name: Name) -> int | None:
        """Return the PID in R/pid of the attempt's live supervisor, or None if no supervisor is alive or R has the
        end.
        """
        mark = self._pid(name)
        if mark is None or mark.supervisor is None or self._has_ended(name):
            return None
        born = process.birth(mark.supervisor)
        return mark.supervisor if born is not None and born <= mark.after // process.TICK + 1 else None

    def lost(self, name: Name, reason: str, status: int | None = None) -> events.AttemptOver:
        """Return the end of an attempt whose supervisor is dead: from the record file if it contains the end, else as
        lost.

        Raises OSError if a mark can't be read now.
        """
        with contextlib.suppress(Damaged):
            document = checked_end(record_files.read(self.logs, name.run), name.run)
            if any(attempt["attempt"] == name.attempt for attempt in document["attempts"]):
                return ended(name, document)
        output = record_files.found_output(self.logs, name.run)
        return events.RunLost(*name, reason, status, output, self.telemetry(name))

    def telemetry(self, name: Name) -> dict[str, Any] | None:
        """Return the telemetry so far, or None if it is missing or damaged. Raises OSError if the mark can't be read
        now.
        """
        data = self._read(name, wire.TELEMETRY)
        with contextlib.suppress(Damaged):
            return marks.telemetry(data) if is_whole(data) else None
        return None

    def slurm(self, name: Name) -> SlurmJob | None:
        """Return the attempt's job on Slurm, or None if it is missing or damaged. Raises OSError if the mark can't be
        read now.
        """
        data = self._read(name, wire.SLURM)
        with contextlib.suppress(Damaged):
            return marks.slurm(data) if is_whole(data) else None
        return None

    def clues(self, name: Name) -> Clues:
        """Return the clues to processes of an attempt whose supervisor died."""
        main, spawning = self._pid(name), self._spawning(name)
        if spawning is None:  # an older version, or a full disk
            since = self._made(name) if main is None else leftover_processes.ticks(main.before)
            return Clues(since, self._identity(name), _born(main), None, None, self._title(name), self._on_slurm(name))
        base = (cgroup.unified(spawning.cgroups) or "").removesuffix("/self")
        own = f"{base}/{self._above(name)}{name}" if spawning.own else None
        before, identity = leftover_processes.ticks(spawning.before), self._identity(name)
        return Clues(before, identity, _born(main), own, spawning.cgroups, self._title(name), self._on_slurm(name))

    def clues_without(self, name: Name, since: int = 0) -> Clues:
        """Return the clues to processes of an attempt without R; `since`: earliest possible birth (ticks)."""
        return Clues(since, leftover_processes.identity_of(str(name.run), name.attempt), title=self._title(name))

    def _title(self, name: Name) -> tuple[str, str]:
        return str(name), self._runs

    def _identity(self, name: Name) -> dict[str, str]:
        data = self._read(name, wire.SPEC)
        with contextlib.suppress(Damaged):
            if is_whole(data):
                return leftover_processes.identity(marks.spec(data).get("environment"))
        return leftover_processes.identity_of(str(name.run), name.attempt)

    def _on_slurm(self, name: Name) -> bool:
        data = self._read(name, wire.SPEC)
        with contextlib.suppress(Damaged):
            return is_whole(data) and bool(marks.spec(data).get("slurm"))
        return False

    def _above(self, name: Name) -> str:
        """Return the name of the user's cgroup that contains the attempt's cgroup, such as ``u1000/``, or "" if there
        is none.
        """
        data = self._read(name, wire.SPEC)
        with contextlib.suppress(Damaged):
            above = marks.spec(data).get("above") if is_whole(data) else None
            return f"{above['name']}/" if isinstance(above, dict) and "name" in above else ""
        return ""

    def _spawning(self, name: Name) -> wire.SpawningMark | None:
        data = self._read(name, wire.SPAWNING)
        return None if data is None else wire.SpawningMark.parse(data)

    def _made(self, name: Name) -> int:
        """Return the tick before the oldest mark was made, or 0 if there are no marks. R/spec is made before any
        process starts.
        """
        with contextlib.suppress(FileNotFoundError), os.scandir(f"{self._runs}/{name}") as marks_of:
            times = [entry.stat(follow_symlinks=False).st_mtime_ns for entry in marks_of]
            return leftover_processes.since(min(times)) if times else 0
        return 0

    def _has_ended(self, name: Name) -> bool:
        with self.opened(name) as directory:
            return directory is None or wire.read_mark(directory, wire.ENDED) is not None

    def _pid(self, name: Name) -> wire.PidMark | None:
        data = self._read(name, wire.PID)
        mark = None if data is None else wire.PidMark.parse(data)
        if mark is None and is_whole(data):
            self._note(name, wire.PID, "it names no processes; the daemon searches for the run's processes without it")
        return mark

    def _read(self, name: Name, mark: str) -> bytes | None:
        """Return a mark's content, or None if the mark is missing or unreadable. Raises OSError if it can't be read
        now.
        """
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
        """Return messages about marks found damaged since the last call, and about the consequences; each message is
        returned once.
        """
        told = list(self._flaws)
        self._flaws.clear()
        return told


def is_whole(data: bytes | None) -> TypeGuard[bytes]:
    """Return whether a mark exists and was written to its end."""
    return data is not None and data.endswith(b"\n")


def _answers(directory: int, name: str, *, tidy: bool) -> bool:
    """Return whether a supervisor listens at a socket, or may listen there."""
    try:
        connection = unix_socket.connected(directory, name)
    except OSError:
        return True
    if connection is None:
        with contextlib.suppress(FileNotFoundError):
            if tidy:
                os.unlink(name, dir_fd=directory)
        return False
    connection.close()
    return True


def ended(name: Name, document: Record) -> events.AttemptOver:
    """Return the event for an attempt's final record."""
    if document["state"] == UNSTARTED:
        return events.NeverStarted(*name, document["reason"] or "", Unstarted.TROUBLE)
    return events.RunEnded(*name, document)


def _born(mark: wire.PidMark | None) -> tuple[int, int, int] | None:
    return None if mark is None else (mark.pid, leftover_processes.ticks(mark.before), mark.after // process.TICK + 1)
