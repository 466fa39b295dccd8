"""A supervisor as its launcher sees it."""

from __future__ import annotations

import socket
import time


class Seat:
    """Process, socket, and the attempt it is busy with."""

    __slots__ = ("idle_since", "left", "name", "pid", "socket")

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.socket = pid, connection
        self.name = self.left = ""
        self.idle_since = time.monotonic()
