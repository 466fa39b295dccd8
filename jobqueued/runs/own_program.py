"""A program that listens on a socket and that PID 1 or the daemon starts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from jobqueued.child.contract import unix_socket

_ENVIRONMENT = ("PATH", "LANG", "LD_LIBRARY_PATH")


def connected(address: Path) -> socket.socket:
    """Return a connection to the program that listens on a socket, without waiting. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        unix_socket.connect(connection, str(address))
    except OSError:
        connection.close()
        raise
    return connection


def start(address: Path, program: Path, arguments: Sequence[str]) -> socket.socket:
    """Start a program and return a connection to it. It outlives the daemon while it has work. Raises OSError.

    As under systemd, the program gets the listening socket as descriptor 3.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        previous = os.umask(0o177)
        try:
            unix_socket.bind(listener, str(address))
        finally:
            os.umask(previous)
        listener.listen(8)
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(program), *arguments],
            {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            file_actions=[(os.POSIX_SPAWN_DUP2, listener.fileno(), 3)],
            setsid=True,
            setsigmask=(),
            setsigdef=sorted(signal.valid_signals()),
        )
        return connected(address)  # connect before closing the listener: the program may exit at once
