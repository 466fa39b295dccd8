"""Daemons without the fifth of a second that each would spend on imports: forks of one process that has them loaded.

The process is started once for all tests of a worker, and does what it is told over a socket: ``start`` runs a Python
program as ``python FILE …`` or ``python -m MODULE …`` would, ``reap`` tells the exit status of one that has ended.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from functools import cache
from typing import Any, NoReturn

from tests.support import REPO

LONGEST = 1 << 17


class Forked:
    """A program that the preloaded process runs, in the words of `subprocess.Popen`."""

    def __init__(self, program: list[str], log: int) -> None:
        order = {"program": program, "environment": dict(os.environ)}
        self.pid: int = ask(order, [log])
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal, once it has ended."""
        if self.returncode is None:
            descriptor = os.pidfd_open(self.pid)  # ours until we ask to reap it
            ended, _, _ = select.select([descriptor], [], [], timeout)
            os.close(descriptor)
            if not ended:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = ask({"reap": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def ask(order: dict[str, Any], descriptors: list[int] | None = None) -> int:
    """The answer of the preloaded process."""
    connection = preloaded()
    socket.send_fds(connection, [json.dumps(order).encode()], descriptors or [])
    return int(connection.recv(64))


@cache
def preloaded() -> socket.socket:
    """Start the process; it ends when we do."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.support.preloaded", str(theirs.fileno())]
        subprocess.Popen(command, cwd=REPO, pass_fds=[theirs.fileno()])
    return ours


def serve(connection: socket.socket) -> None:
    """Do what is asked until nobody can ask any more."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, LONGEST, 1)
        if not message:
            return
        order = json.loads(message)
        if "reap" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["reap"], 0)[1])
        elif not (answer := os.fork()):
            connection.close()
            become(order["program"], order["environment"], descriptors[0])
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(answer).encode())


def become(program: list[str], environment: dict[str, str], log: int) -> NoReturn:
    """Run a Python program: its file, or ``-m`` and a module, and its arguments."""
    status: object = 1
    try:
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        if program[0] == "-m":
            sys.argv = program[1:]
            runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = program
            runpy.run_path(program[0], run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    import jobqueued.daemon.daemon  # noqa: F401

    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
