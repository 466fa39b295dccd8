"""A host for tests of the real thing: a daemon on a directory of its own, started, killed, asked, and read."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jobqueued.base.filenames import file_name
from jobqueued.child.contract import unix_socket, wire
from jobqueued.control.protocol.varlink import Decoder, encode
from tests.support import REPO
from tests.support.preloaded import Forked

DEADLINE = 30.0

T = TypeVar("T")


def wait_for(what: Callable[[], T], seconds: float = DEADLINE, why: str = "") -> T:
    """The first true value of `what`; AssertionError after `seconds`.  Looks often: nothing here tells when."""
    until = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < until, f"not within {seconds} s: {why or what}"
        time.sleep(0.01)
    return value


class Host:
    """Everything below one directory; `program` is what Python runs as the daemon."""

    def __init__(self, root: Path, *program: str) -> None:
        self.root = root
        self.program = program or ("-m", "jobqueued")
        self.daemon: Forked | subprocess.Popen[bytes] | None = None
        (root / "jobqueue.d").mkdir(parents=True)

    def write(self, name: str, text: str) -> None:
        """Save a job file as editors do: by rename."""
        temporary = self.root / f"{name}.tmp"
        temporary.write_text(text)
        temporary.replace(self.root / "jobqueue.d" / name)

    def start(self, *arguments: str, ready: bool = True) -> Forked:
        """Start the daemon and wait until it is ready."""
        seen = len(self.said("ready"))
        command = [*self.program, "--root", str(self.root), "--log", "json", *arguments]
        with open(self.root / "daemon.log", "ab") as log:
            if self.log()[-1:] not in ("", "\n"):
                log.write(b"\n")  # the daemon before was killed within a line
                log.flush()
            self.daemon = Forked(command, log.fileno())
        if ready:
            wait_for(lambda: len(self.said("ready")) > seen or self.daemon_ended(), why="ready")
            assert not self.daemon_ended(), self.log()
        return self.daemon

    def daemon_ended(self) -> bool:
        """Whether the daemon is gone."""
        return self.daemon is None or self.daemon.poll() is not None

    def kill(self) -> None:
        """SIGKILL the scheduler, and nothing else."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait(DEADLINE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the daemon in order; its exit status."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        return self.daemon.wait(DEADLINE)

    def log(self) -> str:
        """What the daemon wrote to stderr."""
        path = self.root / "daemon.log"
        return path.read_text() if path.exists() else ""

    def said(self, event: str) -> list[dict[str, Any]]:
        """The journal lines of one kind."""
        whole = self.log().rpartition("\n")[0].splitlines()  # the last may be under way
        entries = [json.loads(line) for line in whole if line.startswith("{") and line.endswith("}")]
        return [entry for entry in entries if entry["event"] == event]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call on the control socket: the reply's parameters, or {"error": …}."""
        directory = wire.open_directory(str(self.root / "run"))
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(DEADLINE)
                connection.connect(unix_socket.address(directory, wire.CONTROL))
                with contextlib.suppress(BrokenPipeError):  # it has been turned away, and can read why
                    connection.sendall(encode({"method": f"io.jobqueue.{method}", "parameters": parameters}))
                decoder, messages = Decoder(64 << 20), []
                while not messages:
                    data = connection.recv(1 << 16)
                    if not data:
                        raise ConnectionResetError("the daemon hung up")
                    messages = decoder.feed(data)
        finally:
            os.close(directory)
        reply = messages[0]
        return {"error": reply["error"], **reply["parameters"]} if "error" in reply else reply["parameters"]

    def run(self, job: str) -> str:
        """Make a job due now; the run's name."""
        reply = self.call("Run", job=job)
        assert "run" in reply, reply
        return str(reply["run"])

    def wait(self, run: str) -> dict[str, Any]:
        """The record of a run once it has ended."""
        return dict(self.call("Wait", run=run)["record"])

    def record(self, run: str) -> dict[str, Any] | None:
        """The record file of a run."""
        job, _, number = run.rpartition("@")
        try:
            text = (self.root / "logs" / file_name(job) / f"{number}.json").read_text()
        except FileNotFoundError:
            return None
        return dict(json.loads(text))

    def output(self, run: str) -> bytes:
        """The output file of a run."""
        job, _, number = run.rpartition("@")
        return (self.root / "logs" / file_name(job) / f"{number}.log").read_bytes()

    def marks(self) -> list[str]:
        """The attempts that have a directory."""
        return sorted(path.name for path in self.root.glob("run/runs/*/*@*"))

    def small_ones(self) -> list[int]:
        """The launcher and the supervisors of this host, and its agent in a fleet."""
        markers = {str(self.root / "run" / "runs"), str(self.root / "run")}
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                arguments = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if markers.intersection(arguments[1:]) and lives(name):
                found.append(int(name))
        return found

    def kill_small_ones(self) -> None:
        """SIGKILL the launcher and the supervisors; some leave by themselves once the launcher is gone."""
        for pid in self.small_ones():
            kill(pid)

    def close(self) -> None:
        """End everything that this host started."""
        if not self.daemon_ended():
            self.kill()
        self.kill_small_ones()
        for path in self.root.glob("run/runs/*/*/pid"):
            kill_run(path)


def limited(most: int) -> tuple[str, ...]:
    """The `program` of a daemon that may have so many descriptors at most."""
    return str(REPO / "tests" / "support" / "limited.py"), str(most)


def state(pid: int | str) -> str:
    """The state of a process as in proc(5): R, S, T, Z …; X if no such process exists."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def lives(pid: int | str) -> bool:
    """Whether a process has not ended; a zombie has: PID 1 of a container may never reap orphans."""
    return state(pid) not in "ZX"


def kill(pid: int) -> None:
    """SIGKILL a process, or a group by its negative number, if it is there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL) if pid > 0 else os.killpg(-pid, signal.SIGKILL)


def kill_run(path: Path) -> None:
    """SIGKILL the group of the process in a run's file `pid`, which is empty if the writer was killed before."""
    words = path.read_text().split()
    if words:
        kill(-int(words[0]))
