"""A supervisor as its launcher sees it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable

from jobqueued.child import wire

_STARTING = 0.05
"""A start that takes longer (s) waits for something else than a CPU: a mount, a user database."""

_MANY, _BRISK = 4, 0.02
"""So many attempts in so long (s) are a start each 5 ms."""

_WORN = 50
"""After so many attempts a supervisor has some 1.2 MiB that a new one has not."""


class Seat:
    """Process, socket, and the attempt or question it is busy with, "" while it is idle."""

    __slots__ = ("_attempts", "idle_since", "left", "name", "pid", "socket", "starting_since", "taken")

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.socket, self._attempts = pid, connection, 0
        self.name = self.left = ""
        self.idle_since = time.monotonic()
        self.taken = float("-inf")
        """The hand-over of its newest attempt."""
        self.starting_since: float | None = None
        """The hand-over of an attempt of which it has told nothing yet."""

    def take(self, name: str, directory: int) -> None:
        """Hand an attempt over, with its R; OSError."""
        socket.send_fds(self.socket, [name.encode()], [directory])
        self.name, self.taken = name, time.monotonic()
        self.starting_since = self.taken
        self._attempts += 1

    @property
    def is_worn(self) -> bool:
        """Tell whether a new one would take less memory."""
        return self._attempts > _WORN

    def hear(self) -> bytes | None:
        """Take what it says next; None: nothing now; b"": it is gone."""
        try:
            notice = self.socket.recv(wire.NOTICE)
        except BlockingIOError:
            return None
        except OSError:
            notice = b""
        self.starting_since = None
        return notice

    def is_starting(self, now: float) -> bool:
        """Tell whether it is about to start its attempt, and a CPU is what it waits for."""
        return self.starting_since is not None and now - self.starting_since < _STARTING


def spare(idle: list[Seat], least: int, before: float = float("inf")) -> list[Seat]:
    """Those of all who are idle (the longest first) over the `least`, and since `before`; where there are no more than
    that, those in whose place a new one would do.
    """
    found = idle[:-least] or [seat for seat in idle if seat.is_worn]
    return [seat for seat in found if seat.idle_since < before]


def are_enough(seats: Iterable[Seat], now: float) -> bool:
    """Tell whether attempts are handed over briskly, and no CPU is free: one seat more would only take memory."""
    return sum(now - seat.taken < _BRISK for seat in seats) >= _MANY and _is_crowded()


def _is_crowded() -> bool:
    """Tell whether the CPUs of the host have enough to do without whoever asks; False where the kernel does not say."""
    try:
        with open("/proc/loadavg", "rb", 0) as file:
            return int(file.read().split()[3].partition(b"/")[0]) > (os.cpu_count() or 1)
    except (OSError, LookupError, ValueError):
        return False
