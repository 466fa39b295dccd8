"""Run a command of jobqueuectl on several hosts at once, over ssh except on this host, with time and size limits."""

from __future__ import annotations

import os
import re
import selectors
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from jobqueued.base.text import printable, size
from jobqueued.child.contract.tuples import NamedTuple

SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10 -o LogLevel=ERROR"
"""Default program to reach a host; the program never prompts and prints no banner."""
_AT_ONCE = 8
_MOST = 64 << 20
"""Maximum size (bytes) of a host's output. A document with 100,000 jobs has half this size."""
_HERE = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r}); "
    "from jobqueued.ctl.main import main; main(prog_name='jobqueuectl')"
)
"""Python program that runs this jobqueuectl instead of another installed version."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
A_HOST = "a name of letters, digits, '.', '_' and '-' that begins with a letter or digit"


def is_host(name: str) -> bool:
    """Return whether a name can be a host name, and has no characters that ssh or a shell would interpret."""
    return _NAME.fullmatch(name) is not None


class Way(NamedTuple):
    """The way to reach hosts: the name of this host, and the words of the program that reaches other hosts."""

    here: str
    program: Sequence[str]

    def command(self, host: str, words: Sequence[str]) -> list[str]:
        """Return the command that runs jobqueuectl on a host.

        The words are quoted, because ssh passes them to a shell.
        """
        if host == self.here:
            return [sys.executable, "-P", "-c", _HERE, *words]
        return [*self.program, host, "--", shlex.join(["jobqueuectl", *words])]

    def shown(self, host: str, words: Sequence[str]) -> str:
        """Return the command in the form that a user would type."""
        own = ["jobqueuectl", *words]
        return printable(shlex.join(own if host == self.here else self.command(host, words)))


class HostReply(NamedTuple):
    """The result of a command on a host: exit status and output. `problem` is the reason for incomplete output."""

    host: str
    code: int = 0
    out: bytes = b""
    errors: Sequence[str] = ()
    problem: str = ""


def replies(hosts: Sequence[str], command: Callable[[str], list[str]], seconds: float) -> Iterator[HostReply]:
    """Run a command on each host, several at once, and yield the replies in the order of the hosts.

    `seconds` is the time limit for all hosts together.
    """
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(_AT_ONCE) as places:
        yield from places.map(lambda host: _reply(host, command(host), deadline), hosts)


def _reply(host: str, command: list[str], deadline: float) -> HostReply:
    if time.monotonic() >= deadline:
        return HostReply(host, problem="the time was up before this host was queried; to wait longer: --timeout")
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
    except OSError as error:
        return HostReply(host, problem=f"cannot start {command[0]}: {error.strerror}")
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = bytearray(), bytearray()
    with process:
        problem = _read({process.stdout: out, process.stderr: err}, deadline)
        try:
            process.wait(0 if problem else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            problem = problem or _LATE
            process.kill()
    errors = [printable(line) for line in err.decode(errors="backslashreplace").splitlines() if line.strip()]
    return HostReply(host, process.returncode, bytes(out), errors, problem)


_LATE = "no answer in time; to wait longer: --timeout"


def _read(pipes: dict[IO[bytes], bytearray], deadline: float) -> str:
    """Read the pipes to their ends. Return the problem, or ""."""
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                return _LATE
            for key, _ in ready:
                data, read = os.read(key.fd, 1 << 16), pipes[key.fileobj]  # type: ignore[index]
                if not data:
                    selector.unregister(key.fileobj)
                read += data
                if len(read) > _MOST:
                    return f"it printed more than {size(_MOST)}"
    return ""
