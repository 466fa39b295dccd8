"""Unix sockets at paths of any length: sun_path has only 107 bytes (unix(7)), so a descriptor shortens the path."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

JOURNALD = "/run/systemd/journal/socket"
"""Socket of journald's native protocol."""
_NOBODY = frozenset({errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EPROTOTYPE})


def address(directory: int, name: str) -> str:
    """Return a short path to a socket in `directory` (a descriptor)."""
    return f"/proc/self/fd/{directory}/{name}"


def connect(connection: socket.socket, path: str) -> None:
    """Connect to the socket at `path`. Raises OSError; the caller closes the connection."""
    _by_directory(connection.connect, path)


def bind(listener: socket.socket, path: str) -> None:
    """Make the socket at `path`. Raises OSError; the caller closes the listener."""
    _by_directory(listener.bind, path)


def connected(directory: int, name: str) -> socket.socket | None:
    """Return a non-blocking stream to the socket `name` in a directory, or None if nothing listens there.

    Raises OSError if it can't find out: too many connections wait (EAGAIN), or descriptors or memory are exhausted.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect(address(directory, name))
    except OSError as error:
        connection.close()
        if error.errno in _NOBODY:
            return None
        raise
    return connection


def _by_directory(action: Callable[[str], object], path: str) -> None:
    folder, name = os.path.split(path)
    directory = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        action(address(directory, name))
    finally:
        os.close(directory)
