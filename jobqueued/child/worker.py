"""The launcher's view of a supervisor, and the decision when to fork another."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Iterable

from jobqueued.child.contract import wire
from jobqueued.child.processes import tree

CPUS = len(os.sched_getaffinity(0))
AT_ONCE = max(2, min(8, CPUS))
"""Number of supervisors that are forked for a burst without waiting for a busy supervisor."""
ENOUGH = min(4 * CPUS, 16)
"""If this many young attempts need a CPU, no supervisor is forked. Fewer attempts would get too little CPU time."""
YOUNG = 2.0
"""Age (s) after which an attempt counts as long, so that other attempts no longer wait for its end."""
SHORTEST_PAUSE = 0.005
"""Minimum pause (s) between two forks, which take 2 ms each. Waiting this long for an idle supervisor is cheaper."""
PAUSE = 0.05
"""Minimum pause (s) between two checks of the attempts' CPU use, which take about 0.1 ms per attempt."""
LONGEST = max(PAUSE, 0.5 / CPUS)
"""Maximum pause (s) between two starts while attempts wait, even if many attempts need a CPU."""

_WORN = 50
"""Number of attempts after which a supervisor uses about 1.2 MiB more than a new one."""


class Worker:
    """A supervisor: its process, its socket, and its current attempt or question, or "" while it is idle."""

    __slots__ = ("_attempts", "idle_since", "left", "name", "pid", "socket", "taken")

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.socket, self._attempts = pid, connection, 0
        self.name = self.left = ""
        self.idle_since = time.monotonic()
        self.taken = float("-inf")
        """Time (CLOCK_MONOTONIC, s) when the supervisor got its newest attempt."""

    def take(self, name: str, directory: int) -> None:
        """Give the supervisor an attempt with its R. Raises OSError."""
        socket.send_fds(self.socket, [name.encode()], [directory])
        self.name, self.taken = name, time.monotonic()
        self._attempts += 1

    @property
    def is_worn(self) -> bool:
        """Return whether a new supervisor would need less memory."""
        return self._attempts > _WORN

    def hear(self) -> bytes | None:
        """Return the next notice, None if no notice has arrived, or b"" if the supervisor exited."""
        try:
            return self.socket.recv(wire.NOTICE)
        except BlockingIOError:
            return None
        except OSError:
            return b""


def spare(idle: list[Worker], least: int, before: float = float("inf")) -> list[Worker]:
    """Return the idle supervisors that are not needed: all except the newest `least`, if idle since before `before`.

    If only `least` are idle, return the worn supervisors, which new supervisors should replace.
    """
    found = idle[:-least] or [worker for worker in idle if worker.is_worn]
    return [worker for worker in found if worker.idle_since < before]


class SpawnLimit:
    """Decides when to fork another supervisor while attempts wait and no supervisor is idle.

    An attempt that waits for a disk, a lock or time needs no CPU, so other attempts can start. If enough young attempts
    need a CPU, another supervisor would not start an attempt sooner, and would only use memory.
    """

    def __init__(self) -> None:
        self._handed_over = self._next = float("-inf")

    def handed_over(self, now: float) -> None:
        """Record that an attempt was given to a supervisor.

        For a moment, waiting for an idle supervisor is cheaper than a fork.
        """
        self._handed_over, self._next = now, max(self._next, now + SHORTEST_PAUSE)

    def rest(self, now: float) -> float:
        """Return the time (s) until another fork may be useful."""
        return max(0.0, self._next - now)

    def may_help(self, workers: Collection[Worker], now: float) -> bool:
        """Return whether another supervisor would start an attempt sooner than the current supervisors."""
        if len(workers) < AT_ONCE:
            return True
        if now < self._next:
            return False
        if now - self._handed_over < LONGEST and _is_crowded() and _want_cpus(workers, now) >= ENOUGH:
            self._next = now + PAUSE
            return False
        return True


def _want_cpus(workers: Iterable[Worker], now: float) -> int:
    """Return the number of young attempts that need a CPU. Only the newest attempts, twice `ENOUGH`, are checked."""
    young = [worker for worker in workers if now - worker.taken < YOUNG]
    newest = sorted(young, key=lambda worker: worker.taken, reverse=True)[: 2 * ENOUGH]
    return sum(tree.wants_cpu(worker.pid) for worker in newest)


def _is_crowded() -> bool:
    """Return whether other processes keep the host's CPUs busy; False if unknown."""
    try:
        with open("/proc/loadavg", "rb", 0) as file:
            return int(file.read().split()[3].partition(b"/")[0]) > (os.cpu_count() or 1)
    except (OSError, LookupError, ValueError):
        return False
