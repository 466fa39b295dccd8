"""Unix sockets at paths of any length: sun_path holds 107 bytes (unix(7)), the name of a descriptor is short."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

JOURNALD = "/run/systemd/journal/socket"
"""Where journald listens, by its native protocol."""
_NOBODY = frozenset({errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EPROTOTYPE})


def address(directory: int, name: str) -> str:
    """A path to a socket in `directory` (a descriptor), however deep that lies."""
    return f"/proc/self/fd/{directory}/{name}"


def connect(connection: socket.socket, path: str) -> None:
    """Connect to the socket at `path`; OSError, and the caller closes."""
    _by_directory(connection.connect, path)


def bind(listener: socket.socket, path: str) -> None:
    """Make the socket at `path`; OSError, and the caller closes."""
    _by_directory(listener.bind, path)


def connected(directory: int, name: str) -> socket.socket | None:
    """A non-blocking stream to the socket `name` in a directory; None: nobody listens there.

    OSError: that can't be told, as too many others wait to be accepted (EAGAIN), or for want of descriptors or memory.
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
