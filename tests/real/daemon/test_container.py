"""The entrypoint of docs/containers.md as PID 1 of a namespace of processes, without a cgroup that it may write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import REPO
from tests.support.client import run as client
from tests.support.host import state, wait_for
from tests.support.users import NEEDS_ROOT

CGROUPS = "/sys/fs/cgroup"
NAMESPACES = ["unshare", "--pid", "--mount", "--fork", "--kill-child"]
SETUP = f"""
set -e
mount -t proc proc /proc
if [ -e {CGROUPS}/cgroup.procs ]; then
    mount --bind {CGROUPS} {CGROUPS}
    mount -o remount,bind,ro {CGROUPS}
fi
exec {REPO}/docs/container/entrypoint "$@"
"""
FILE = """
jobs:
  long: {command: "echo started; exec sleep 1000"}
  orphan: {command: "setsid sleep 0.2 & echo told >/proc/1/fd/1", leave_children: true}
"""

pytestmark = NEEDS_ROOT


def children(pid: int) -> list[str]:
    """The children of a process, also those that wait to be reaped."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class Container:
    """A container, in that it has processes of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.stdout, self.log = root, root / "stdout", root / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None
        programs = root / "bin"
        programs.mkdir()
        (programs / "jobqueued").write_text(f'#!/bin/sh\ncd {REPO} && exec {sys.executable} -m jobqueued "$@"\n')
        (programs / "jobqueued").chmod(0o755)
        (root / "jobqueue.d").mkdir()
        (root / "jobqueue.d/jobs.yaml").write_text(FILE)

    def start(self) -> None:
        """Start it, and wait until the daemon is ready."""
        seen = self.events().count("ready")
        environment = {**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}"}
        command = [*NAMESPACES, "sh", "-c", SETUP, "sh", "--root", str(self.root)]
        with open(self.stdout, "ab") as stdout, open(self.log, "ab") as log:
            self._process = subprocess.Popen(command, stdout=stdout, stderr=log, env=environment)
        wait_for(lambda: self.events().count("ready") > seen, why="ready")

    @property
    def pid(self) -> int:
        """The process that is PID 1 inside."""
        assert self._process is not None
        return int(children(self._process.pid)[0])

    def zombies(self) -> int:
        """How many of PID 1's children have ended, and it has not asked how."""
        return [state(child) for child in children(self.pid)].count("Z")

    def stop(self) -> int:
        """What `docker stop` does; the exit status."""
        assert self._process is not None
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(60)

    def kill(self) -> None:
        """End it, if it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(60)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask the daemon in it."""
        return client("--root", self.root, *words)

    def events(self) -> list[str]:
        """The events of the log, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """One that is gone after the test."""
    container = Container(tmp_path)
    yield container
    container.kill()


def test_a_stop_is_a_shutdown(container: Container) -> None:
    """A live run ends as at a shutdown of a host, with its record; the next start knows it, and nothing is lost."""
    container.start()
    record = container.root / "logs/long/1.json"
    output = container.root / "logs/long/1.log"
    assert 0 == container.ask("run", "long").returncode
    wait_for(lambda: output.exists() and output.read_text() == "started\n", why="it has started")
    assert 0 == container.stop()
    found = json.loads(record.read_text())
    assert ("killed", "shutdown", 15) == (found["state"], found["reason"], found["signal"])
    container.start()
    shown = json.loads(container.ask("show", "long@1", "--json").stdout)
    assert ("killed", "shutdown") == (shown["state"], shown["reason"])
    assert 0 == container.stop()


def test_jobs_can_write_to_the_containers_output(container: Container) -> None:
    """By PID 1's descriptor; and PID 1 leaves no zombie of what jobs leave to it."""
    container.start()
    assert 0 == container.ask("run", "--wait", "orphan").returncode
    assert "told\n" == container.stdout.read_text()
    wait_for(lambda: not container.zombies(), why="no zombie")
    assert 0 == container.stop()
