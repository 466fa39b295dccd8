"""Real agents of a fleet, as schedulers speak with them."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobqueued.child.fleet import agent, lines
from jobqueued.child.fleet.lines import Line
from tests.support.host import wait_for

_AS_THREE = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.executable, sys.argv[2:])"
"""A program that gives the descriptor to another as its third."""


def question_of(job: str, key: str, *locks: str, question: int = 1, spec: str = "") -> Line:
    """The line that asks for an occurrence and locks."""
    return ["ask", job, 1, question, key, [[lock, 1, 1] for lock in locks], 3600, spec]


class Agent:
    """A process, the socket at which it listens, and the connection of a scheduler to it."""

    def __init__(self, directory: Path, etcd: str | list[str], host: str, **settings: Any) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        members = [etcd] if isinstance(etcd, str) else etcd
        self.settings = {
            "etcd": members, "fleet": "fleet", "host": host, "store": f"{host}id", "lock_grace": 60,
            "authority": "", "certificate": "", "key": "", "common": "", **settings,
        }  # fmt: skip
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(directory / "fleet"))
        self._listener.listen(8)
        self.heard = list[Line]()
        self.jobs = {"backup": 0}
        """Its jobs, with the second from which on it asks for occurrences."""
        self.start()
        self.hello()

    def start(self) -> None:
        """Start the program, as systemd does."""
        command = [sys.executable, "-I", "-S", agent.__file__, str(self.directory)]
        number = self._listener.fileno()
        self.process = subprocess.Popen([sys.executable, "-c", _AS_THREE, str(number), *command], pass_fds=[number])

    def hello(self, *seen: Any, **since: int) -> None:
        """Connect as a scheduler that has just begun, and may ask for any occurrence, or for those of jobs since."""
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.connect(str(self.directory / "fleet"))
        self._rest = b""
        self.heard.clear()
        self.say("hello", lines.VERSION, self.settings, list(seen) or ["", 0], since or self.jobs)

    def say(self, *line: Any) -> None:
        """Send a line."""
        self.connection.sendall(lines.encode(list(line)))

    def ask(self, job: str, key: str, *locks: str, question: int = 1, spec: str = "") -> None:
        """Ask for an occurrence and locks."""
        self.say(*question_of(job, key, *locks, question=question, spec=spec))

    def hear(self, *wanted: Any) -> Line:
        """Wait until it has told a line that begins so, and forget what it told before that."""

        def is_there() -> bool:
            self._read()
            return any(line[: len(wanted)] == list(wanted) for line in self.heard)

        wait_for(is_there, why=f"{list(wanted)}; it has told {self.heard}", seconds=30)
        place = next(place for place, line in enumerate(self.heard) if line[: len(wanted)] == list(wanted))
        found = self.heard[place]
        del self.heard[: place + 1]
        return found

    def hear_all(self, *wanted: Any) -> list[Line]:
        """The same, with what it told before that, but for definitions, hosts and marks."""
        wait_for(lambda: self._read() or list(wanted) in self.heard, why=f"{list(wanted)}; it has told {self.heard}")
        found, self.heard = [line for line in self.heard if line[0] not in ("spec", "host", "mark")], []
        return found

    def _read(self) -> None:
        while select.select([self.connection], [], [], 0.02)[0]:
            data = self.connection.recv(1 << 16)
            assert data, "it closed the connection"
            *whole, self._rest = (self._rest + data).split(b"\n")
            self.heard += map(lines.decode, whole)

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def close(self) -> None:
        """End all of it."""
        self.kill()
        self._listener.close()


@contextlib.contextmanager
def agents(directory: Path, etcd: str, *hosts: str, **settings: Any) -> Iterator[list[Agent]]:
    """One of each host, which can be asked."""
    with contextlib.ExitStack() as stack:
        found = []
        for host in hosts:
            found.append(Agent(directory / host, etcd, host, **settings))
            stack.callback(found[-1].close)
        for each in found:
            each.hear("up", "")
        yield found


def pss(process: int) -> int:
    """The proportional set size of a process (KiB)."""
    with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
