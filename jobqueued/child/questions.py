"""Orders for idle supervisors: look up a user, send a notice, handle a crontab."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections import deque

from jobqueued.child.supervisor import CRONTAB, NOTIFY, QUESTION


class Questions:
    """Orders that wait for a supervisor."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, order: bytes) -> str:
        """Add an order. Return an immediate answer, or "" if the answer comes later."""
        text = order.decode()
        if text.startswith(QUESTION):
            self._waiting.append((text, -1))
            return ""
        verb, number, document = text.split(" ", 2)
        try:
            descriptor = os.memfd_create(verb)
            with open(descriptor, "wb", closefd=False) as file:
                file.write(document.encode())
        except OSError as error:
            return later(number, error.strerror or "")
        self._waiting.append((f"{verb} {number}", descriptor))
        return ""

    def hand_over(self, supervisor: socket.socket) -> str:
        """Give the first order to a supervisor, and return the order's name.

        If the supervisor is dead, its SIGCHLD follows.
        """
        name, descriptor = self._waiting.popleft()
        with contextlib.suppress(OSError):
            if descriptor < 0:
                supervisor.send(name.encode())
            else:
                socket.send_fds(supervisor, [name.encode()], [descriptor])
        if descriptor >= 0:
            os.close(descriptor)
        return name

    def lost(self, name: str) -> str:
        """Handle an order whose supervisor died. Return the answer, or "" if the order will be repeated."""
        if not name.startswith(QUESTION):
            return later(name.partition(" ")[2], "its supervisor has died")
        self._waiting.append((name, -1))
        return ""

    def clear(self) -> None:
        """Drop all orders, because no scheduler waits for their answers."""
        for _, descriptor in self._waiting:
            if descriptor >= 0:
                os.close(descriptor)
        self._waiting.clear()


def is_question(name: str) -> bool:
    """Return whether a supervisor's task is one of these orders, rather than an attempt."""
    return name.startswith((QUESTION, NOTIFY, CRONTAB))


def later(number: str, why: str) -> str:
    """Return the answer to a notice or crontab order that failed temporarily."""
    return f"notified {number} later 0 {why or os.strerror(errno.EIO)}"
