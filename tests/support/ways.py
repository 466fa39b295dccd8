"""The ways to start a job, and what the supervisor is told of it."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start import become, posixspawn, spawn
from jobqueued.child.start.identity import StartFailed
from tests.support.needed import need
from tests.support.users import ME, NEEDS_ROOT, OTHER

WAYS = [
    pytest.param("posix_spawn"), pytest.param("as into a cgroup"), pytest.param("fork"),
    pytest.param("other user", marks=NEEDS_ROOT), pytest.param("other user by become", marks=NEEDS_ROOT),
]  # fmt: skip
SOURCE = Path(become.__file__).with_name("become.c")


def order(command: str | list[str], **fields: Any) -> dict[str, Any]:
    """What the supervisor is told."""
    return {
        "command": command, "user": None, "shell": "/bin/sh", "environment": {}, "umask": 0o022,
        "working_directory": None, "group": None, "groups": None, "stdin": "", "environment_file": [],
        "login_environment": False, "attributes": {}, **fields,
    }  # fmt: skip


class Way:
    """One of the ways to start a job; `fork` without root forks for our own user, where the steps need no rights."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.user = OTHER if name.startswith("other user") else None
        self.program = compiled() if name == "other user by become" else "/no such program"
        self.account = pwd.getpwnam(OTHER) if self.user else ME

    def start(self, order: dict[str, Any], output: int) -> int:
        """The pid."""
        with patch.object(become, "PROGRAM", self.program):
            return spawn.spawn({**order, "user": self.user or order["user"]}, output, Cgroup(-1, "")).pid

    def run(self, command: str | list[str], **fields: Any) -> tuple[str, int]:
        """The output of a job and its exit code (negative: the signal)."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with open(reading, errors="surrogateescape") as output:
            try:
                pid = self.start(order(command, **fields), writing)
            finally:
                os.close(writing)
            return output.read(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def refused(self, command: str | list[str], **fields: Any) -> StartFailed:
        """Why a job could not be started; no process is left."""
        before = children()
        with pytest.raises(StartFailed) as failed:
            self.run(command, **fields)
        assert before == children()
        return failed.value


@functools.cache
def compiled(*options: str) -> str:
    """Return the program `become`, compiled for these tests; all users may execute it."""
    folder = Path(tempfile.mkdtemp(prefix="become"))
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)
    words = [need("cc"), "-O2", "-Wall", "-Wextra", "-Werror", *(options or ("-static",))]
    subprocess.run([*words, "-o", folder / "become", SOURCE], check=True)
    return str(folder / "become")


def as_into_a_cgroup(plan: Any, program: str, argv: list[str], env: dict[str, str]) -> int:
    return posixspawn.spawn(program, argv, env, (plan.stdin, *plan.outputs), -1)


def children() -> set[str]:
    """Our children, zombies too."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
