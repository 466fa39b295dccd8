"""Orders to supervisors that come without an attempt: to look up a user, to send a notice, to see to a crontab."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections import deque

from jobqueued.child.supervisor import CRONTAB, NOTIFY, QUESTION


class Questions:
    """Those that wait for a supervisor."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, order: bytes) -> str:
        """Take one in; the answer at once, "" if it comes later."""
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
        """Hand the first to a supervisor, and say its name; one that is dead has its SIGCHLD on the way."""
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
        """Take back what a supervisor did not answer before it died; the answer, "" if it is asked again."""
        if not name.startswith(QUESTION):
            return later(name.partition(" ")[2], "its supervisor has died")
        self._waiting.append((name, -1))
        return ""

    def clear(self) -> None:
        """Nobody wants to know any more."""
        for _, descriptor in self._waiting:
            if descriptor >= 0:
                os.close(descriptor)
        self._waiting.clear()


def is_question(name: str) -> bool:
    """Tell whether a supervisor is busy with one of these, and with no attempt."""
    return name.startswith((QUESTION, NOTIFY, CRONTAB))


def later(number: str, why: str) -> str:
    """The answer about a notice that could not be sent now, or a crontab that could not be seen to."""
    return f"notified {number} later 0 {why or os.strerror(errno.EIO)}"
