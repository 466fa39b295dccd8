"""A supervisor as its launcher sees it, and when one more is worth its fork."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Iterable

from jobqueued.child import tree, wire

CPUS = len(os.sched_getaffinity(0))
AT_ONCE = max(2, min(8, CPUS))
"""Supervisors that are forked for a burst without waiting whether one comes back."""
ENOUGH = min(4 * CPUS, 16)
"""Young attempts that want a CPU at a time: with fewer, a burst has too small a share of a CPU that others use."""
YOUNG = 2.0
"""Age (s) of an attempt after which no other one waits for its end: it is no short one."""
PATIENCE = 0.005
"""Shortest pause (s) between two forks: a supervisor that comes back meanwhile is cheaper than a fork (some 2 ms)."""
PAUSE = 0.05
"""Shortest pause (s) between two looks at what the attempts do, each of some 0.1 ms for an attempt."""
LONGEST = max(PAUSE, 0.5 / CPUS)
"""Longest pause (s) between two starts while attempts wait, however many want a CPU."""

_WORN = 50
"""After so many attempts a supervisor has some 1.2 MiB that a new one has not."""


class Seat:
    """Process, socket, and the attempt or question it is busy with, "" while it is idle."""

    __slots__ = ("_attempts", "idle_since", "left", "name", "pid", "socket", "taken")

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.socket, self._attempts = pid, connection, 0
        self.name = self.left = ""
        self.idle_since = time.monotonic()
        self.taken = float("-inf")
        """The hand-over of its newest attempt."""

    def take(self, name: str, directory: int) -> None:
        """Hand an attempt over, with its R; OSError."""
        socket.send_fds(self.socket, [name.encode()], [directory])
        self.name, self.taken = name, time.monotonic()
        self._attempts += 1

    @property
    def is_worn(self) -> bool:
        """Tell whether a new one would take less memory."""
        return self._attempts > _WORN

    def hear(self) -> bytes | None:
        """Take what it says next; None: nothing now; b"": it is gone."""
        try:
            return self.socket.recv(wire.NOTICE)
        except BlockingIOError:
            return None
        except OSError:
            return b""


def spare(idle: list[Seat], least: int, before: float = float("inf")) -> list[Seat]:
    """Those of all who are idle (the longest first) over the `least`, and since `before`; where there are no more than
    that, those in whose place a new one would do.
    """
    found = idle[:-least] or [seat for seat in idle if seat.is_worn]
    return [seat for seat in found if seat.idle_since < before]


class Hiring:
    """Decides when one more supervisor is worth its fork, while attempts wait and no supervisor is idle.

    An attempt that waits for a disk, a lock or time to pass needs no CPU: others start beside it.  Where enough young
    ones want a CPU, one more supervisor would start nothing sooner, and only take memory.
    """

    def __init__(self) -> None:
        self._handed_over = self._next = float("-inf")

    def handed_over(self, now: float) -> None:
        """Note that an attempt has its supervisor: for a moment, waiting for one that comes back beats a fork."""
        self._handed_over, self._next = now, max(self._next, now + PATIENCE)

    def rest(self, now: float) -> float:
        """Return the time (s) until one more may be worth it."""
        return max(0.0, self._next - now)

    def may_help(self, seats: Collection[Seat], now: float) -> bool:
        """Tell whether one more would start an attempt sooner than those that share the CPUs now."""
        if len(seats) < AT_ONCE:
            return True
        if now < self._next:
            return False
        if now - self._handed_over < LONGEST and _is_crowded() and _want_cpus(seats, now) >= ENOUGH:
            self._next = now + PAUSE
            return False
        return True


def _want_cpus(seats: Iterable[Seat], now: float) -> int:
    """Count the young attempts that want a CPU, among the newest ones: twice `ENOUGH` are looked at."""
    young = [seat for seat in seats if now - seat.taken < YOUNG]
    newest = sorted(young, key=lambda seat: seat.taken, reverse=True)[: 2 * ENOUGH]
    return sum(tree.wants_cpu(seat.pid) for seat in newest)


def _is_crowded() -> bool:
    """Tell whether the CPUs of the host have enough to do without whoever asks; False where the kernel does not say."""
    try:
        with open("/proc/loadavg", "rb", 0) as file:
            return int(file.read().split()[3].partition(b"/")[0]) > (os.cpu_count() or 1)
    except (OSError, LookupError, ValueError):
        return False
