"""A journald of ours, in the place of the host's."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path


class Journal:
    """A journald of ours, which reads what it is sent."""

    def __init__(self, path: Path) -> None:
        self.path, self.read = path, True
        self._socket: socket.socket | None = None

    def listen(self) -> None:
        """Be there."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self.path))
        self.path.chmod(0o666)

    def take(self) -> None:
        """Read what is there."""
        with contextlib.suppress(BlockingIOError):
            while self.read and self._socket is not None:
                self._socket.recv(1 << 18)

    def close(self) -> None:
        """Be gone."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
