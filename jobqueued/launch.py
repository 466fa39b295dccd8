"""Talks to the launcher, and settles at start (or when the launcher was replaced) what became of every live attempt.

A line from the launcher is only a hint to look: what happened stands in R.  After `settle` nothing is in doubt, and
only then may anything be admitted.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jobqueued import events, runlog
from jobqueued.child import wire
from jobqueued.commands import Launch
from jobqueued.model import LIVE, SECOND, Record, Run, RunId, RunState

LAUNCHER = Path(__file__).parent / "child" / "launcher.py"
HELLO_SECONDS = 10.0
SILENT_SECONDS = 10.0
NOTICES = 4096
"""Bytes of notices taken a turn: some hundred, so that no turn takes long."""


class LauncherError(Exception):
    """There is no launcher to be had; the message says what to look at."""


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


def order(launch: Launch, logs: Path) -> dict[str, Any]:
    """What the supervisor is told: the job as it is now, the run it belongs to, and the record so far."""
    run, job = launch.run, launch.job
    identity = {
        "JOBQUEUE_JOB": job.id,
        "JOBQUEUE_RUN": str(run.id),
        "JOBQUEUE_ATTEMPT": str(run.attempt),
        "JOBQUEUE_DUE": launch.record["due"],
    }
    return {
        "v": wire.VERSION,
        "attempt": run.attempt,
        "command": job.command,
        "shell": job.shell,
        "user": job.user,
        "working_directory": job.working_directory,
        "environment": {**dict(job.environment), **identity},
        "umask": 0o022 if job.umask is None else job.umask,
        "timeout": None if job.timeout is None else job.timeout / SECOND,
        "kill_grace": job.kill_grace / SECOND,
        "success_codes": job.success_codes,
        "output_limit": job.output_limit,
        "logs": str(runlog.path_of(logs, run.id)),
        "run": {name: getattr(run, name) for name in _IDENTITY},
        "record": launch.record,
    }


_IDENTITY = ("key", "due", "queued", "trigger", "asked_by")


class Link:
    """The connection to the launcher, the followed supervisors of earlier launchers, and R.

    `own` is the launcher program to start where none answers at `address`; None: PID 1 keeps one there.
    """

    def __init__(self, address: Path, runs: Path, logs: Path, own: Path | None = LAUNCHER) -> None:
        self._address, self._runs, self._logs, self._own = address, runs, logs, own
        self._connection: socket.socket | None = None
        self._outbox = b""
        self._held: set[Name] = set()
        self._followed: dict[int, tuple[Name, socket.socket]] = {}
        self._early: list[bytes] = []

    # the connection

    def connect(self) -> None:
        """Say hello; afterwards everything that an older scheduler sent either has its R or will never be read."""
        self.close()
        for _ in range(3):
            connection = self._reach()
            connection.settimeout(HELLO_SECONDS)
            self._held, self._early = set(), []
            try:
                connection.sendall(b"hello %d\n" % wire.VERSION)
                if self._greeted(connection):
                    connection.setblocking(False)
                    self._connection, self._outbox = connection, b""
                    return
            except OSError:
                pass
            connection.close()
        raise LauncherError(f"the launcher at {self._address} does not answer; see: systemctl status jobqueued-launcher")

    def _greeted(self, connection: socket.socket) -> bool:
        """Read up to the launcher's hello; False: it has another version and is leaving."""
        self._lines = wire.Lines(connection, NOTICES)
        until = time.monotonic() + HELLO_SECONDS
        while (patience := until - time.monotonic()) > 0:
            if not select.select([connection], [], [], patience)[0]:
                break
            lines = self._lines.read()
            if lines is None:
                return False
            for index, line in enumerate(lines):
                verb, _, rest = line.decode().partition(" ")
                if verb == "hello":
                    self._early = lines[index + 1 :]
                    return True
                if verb == "holds":
                    self._held.add(Name.parse(rest))
        return False

    def _reach(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        directory = wire.open_directory(str(self._address.parent))
        try:
            connection.connect(wire.address(directory, self._address.name))
        except OSError as error:
            connection.close()
            if self._own is None:
                raise LauncherError(
                    f"no launcher at {self._address} ({error.strerror}); start it: systemctl start jobqueued-launcher.socket"
                ) from None
            return self._start_own(directory)
        finally:
            os.close(directory)
        return connection

    def _start_own(self, directory: int) -> socket.socket:
        """A launcher of our own, which outlives us as long as it has work; as under systemd, it gets the socket as fd 3."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._address)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        try:
            listener.bind(wire.address(directory, self._address.name))
        finally:
            os.umask(previous)
        listener.listen(8)
        program = [sys.executable, "-I", "-S", str(self._own), str(self._runs.parent), "--exit-when-idle"]
        actions = [(os.POSIX_SPAWN_DUP2, listener.fileno(), 3)]
        os.posix_spawn(
            sys.executable, program, {"PATH": os.defpath, "LANG": "C.UTF-8", **_passed_on()},
            file_actions=actions, setsid=True, setsigmask=(), setsigdef=sorted(signal.valid_signals()),
        )  # fmt: skip
        listener.close()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(wire.address(directory, self._address.name))
        return connection

    def descriptors(self) -> list[int]:
        """What the loop waits on for reading."""
        own = [] if self._connection is None else [self._connection.fileno()]
        return own + list(self._followed)

    @property
    def wants_to_write(self) -> bool:
        """Whether something could not be sent yet."""
        return bool(self._outbox)

    def close(self) -> None:
        """Leave launcher and supervisors to themselves."""
        if self._connection is not None:
            self._connection.close()
        for _name, connection in self._followed.values():
            connection.close()
        self._connection, self._followed = None, {}

    def launch(self, command: Launch) -> None:
        """Queue the order for the next `flush`."""
        self._outbox += f"launch {command.run.attempt_name} ".encode() + wire.encode(order(command, self._logs))

    def flush(self) -> None:
        """Send what the socket takes now."""
        if self._outbox and self._connection is not None:
            with contextlib.suppress(OSError):  # a dead launcher shows at the next read
                self._outbox = self._outbox[self._connection.send(self._outbox) :]

    def read(self, descriptor: int) -> Iterator[events.Event] | None:
        """The events behind a readable descriptor; None: the launcher is gone, so connect and settle again."""
        if descriptor in self._followed:
            return self._follow(descriptor)
        if self._connection is None or descriptor != self._connection.fileno():
            return iter(())
        lines = self._lines.read()
        if lines is None:
            return None
        return self._hear(lines)

    def _hear(self, lines: list[bytes]) -> Iterator[events.Event]:
        for line in lines:
            verb, text, *rest = line.decode().split(" ", 2)
            name, detail = Name.parse(text), "".join(rest)
            match verb:
                case "started":
                    pid, instant = detail.split()
                    yield events.RunStarted(*name, int(pid), int(instant))
                case "ended":
                    yield from self._ended(name)
                case "lost":
                    yield self._bereaved(name, "its supervisor died", None if detail == "-" else int(detail))
                case "unstarted":
                    yield events.NeverStarted(*name, detail)

    def _ended(self, name: Name) -> Iterator[events.Event]:
        document = self._end_mark(name)
        if document is not None:
            yield _end(name, document)

    def _end_mark(self, name: Name) -> Record | None:
        with self._opened(name) as directory:
            return None if directory is None else wire.read_document(directory, wire.ENDED)

    @contextlib.contextmanager
    def _opened(self, name: Name) -> Iterator[int | None]:
        try:
            directory = wire.open_directory(str(self._runs / str(name)))
        except FileNotFoundError:
            yield None
            return
        try:
            yield directory
        finally:
            os.close(directory)

    def _follow(self, descriptor: int) -> Iterator[events.Event]:
        """A followed supervisor said that it has ended, or hung up."""
        name, connection = self._followed[descriptor]
        with contextlib.suppress(OSError):
            if connection.recv(64) == b"live\n":
                return
        del self._followed[descriptor]
        connection.close()
        document = self._end_mark(name)
        yield self._lost(name, "its supervisor died") if document is None else _end(name, document)

    # R

    def remove_marks(self, name: Name) -> None:
        """Remove R; what is not there any more is fine."""
        path = f"{self._runs}/{name}"
        for mark in wire.MARKS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}/{mark}")
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(path)

    def found(self) -> list[Name]:
        """The attempts that have an R in this boot."""
        names = []
        for entry in os.scandir(self._runs):
            with contextlib.suppress(ValueError):
                names.append(Name.parse(entry.name))
        return sorted(names)

    def settle(self, runs: dict[RunId, Run], final: Callable[[RunId], bool], *, same_boot: bool) -> Iterator[events.Event]:
        """One verdict for every attempt that has an R and every live run in `runs`; the table of DESIGN section 2."""
        names = self.found()
        doubtful: list[Name] = []
        for name in names:
            run = runs.get(name.run)
            if run is None or run.attempt != name.attempt:
                if final(name.run):
                    yield from self._leftover(name)
                    continue
                yield from self._unknown(name)
            verdict = self._verdict(name)
            if verdict is None:
                doubtful.append(name)
            else:
                yield from verdict
        yield from self._adopt(doubtful)
        with_directory = set(names)
        for run in list(runs.values()):
            if run.state in LIVE and Name(run.id, run.attempt) not in with_directory:
                yield self._without_directory(run, same_boot=same_boot)
        early, self._early = self._early, []
        yield from self._hear(early)

    def _leftover(self, name: Name) -> Iterator[events.Event]:
        """An attempt whose end is committed: only its marks are still there."""
        document = self._end_mark(name)
        if document is not None:
            yield _end(name, document)
        else:
            self._kill(name)
            yield events.RunLost(*name, "its run was final already")

    def _unknown(self, name: Name) -> Iterator[events.Event]:
        with self._opened(name) as directory:
            spec = None if directory is None else wire.read_document(directory, wire.SPEC)
        if spec is not None:
            yield events.Found(*name, **{field: spec["run"][field] for field in _IDENTITY})

    def _verdict(self, name: Name) -> list[events.Event] | None:
        """From the marks alone; None: `spawning` stands there without an end, so only its supervisor can tell."""
        with self._opened(name) as directory:
            if directory is None:
                return []
            document = wire.read_document(directory, wire.ENDED)
            if document is not None:
                return [_end(name, document)]
            status = wire.read_mark(directory, wire.LOST)
            if status is not None:
                return [self._bereaved(name, "its supervisor died", None if status == b"-" else int(status))]
            if wire.read_mark(directory, wire.SPAWNING) is not None:
                return None
            if name in self._held:
                return []
            try:
                wire.write_mark(directory, wire.SPAWNING)  # whoever makes it decides: now no supervisor can start it
            except FileExistsError:
                return None
        return [events.NeverStarted(*name)]

    def _adopt(self, names: list[Name]) -> Iterator[events.Event]:
        """Ask the supervisors; who answers is followed, who is dead or silent has lost its run."""
        asked = {connection: name for name in names if (connection := self._ask(name)) is not None}
        silent = [name for name in names if name not in asked.values()]
        until = time.monotonic() + SILENT_SECONDS
        while asked and (patience := until - time.monotonic()) > 0:
            for connection in select.select(list(asked), [], [], patience)[0]:
                name = asked.pop(connection)
                if self._answers(connection):
                    self._followed[connection.fileno()] = name, connection
                    yield from self._alive(name)
                else:
                    silent.append(name)
        for name in [*silent, *asked.values()]:
            document = self._end_mark(name)
            if document is not None:
                yield _end(name, document)
            elif name not in self._held or name in asked.values():
                yield self._lost(name, "its supervisor is gone")

    def _ask(self, name: Name) -> socket.socket | None:
        with self._opened(name) as directory:
            if directory is None:
                return None
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                connection.connect(wire.address(directory))
            except OSError:
                connection.close()
                return None
            return connection

    def _answers(self, connection: socket.socket) -> bool:
        try:
            if connection.recv(64).startswith(b"live\n"):
                return True
        except OSError:
            pass
        connection.close()
        return False

    def _alive(self, name: Name) -> Iterator[events.Event]:
        mark = self._pid_mark(name)
        if mark is not None:
            yield events.RunStarted(*name, mark[0], mark[1])

    def _pid_mark(self, name: Name) -> tuple[int, int, int, int] | None:
        with self._opened(name) as directory:
            data = None if directory is None else wire.read_mark(directory, wire.PID)
        if not data:
            return None
        pid, started, before, after = map(int, data.split())
        return pid, started, before, after

    def _lost(self, name: Name, reason: str) -> events.Event:
        self._kill(name)
        return self._bereaved(name, reason, None)

    def _bereaved(self, name: Name, reason: str, status: int | None) -> events.Event:
        """Its supervisor is dead: perhaps it came as far as the record file; else the attempt is lost."""
        document = runlog.read(self._logs, name.run)
        if document is not None and any(attempt["attempt"] == name.attempt for attempt in document["attempts"]):
            return _end(name, document)
        return events.RunLost(*name, reason, status)

    def _kill(self, name: Name) -> None:
        """End what a dead supervisor left of its run: the session of the process that R/pid names, if it is still that."""
        mark = self._pid_mark(name)
        if mark is not None and _is_process(mark[0], mark[2], mark[3]):
            with contextlib.suppress(OSError):
                process = os.pidfd_open(mark[0])
                os.killpg(mark[0], signal.SIGKILL)
                select.select([process], [], [], 2.0)
                os.close(process)

    def _without_directory(self, run: Run, *, same_boot: bool) -> events.Event:
        name = Name(run.id, run.attempt)
        if same_boot:
            if run.state is RunState.STARTING:
                return events.NeverStarted(*name)
            return events.RunLost(*name, "its run directory is gone")
        return self._bereaved(name, "the host went down", None)


def _end(name: Name, document: Record) -> events.Event:
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


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
