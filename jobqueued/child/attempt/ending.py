"""Ends an attempt with its stop signal, a grace period, and repeated SIGKILLs to all remaining processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.contract.reasons import Reason
from jobqueued.child.contract.signals import signal_number
from jobqueued.child.processes import process, tree
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.report.account import NEVER

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0
"""First and longest pause (s) between SIGKILLs to all processes, repeated because a fork bomb may have new children."""
_UNKILLABLE = 2.0
"""Time (s) that a failed start waits for processes that can't be killed because a file system blocks them."""


def ended_all(turn: Callable[[float], object], is_empty: Callable[[], bool]) -> bool:
    """Kill all processes below this process, between turns of the loop. Return False if some can't be killed yet."""
    until = time.monotonic() + _UNKILLABLE
    while not is_empty():
        tree.signal_all(signal.SIGKILL)
        turn(_FIRST_PAUSE)
        if time.monotonic() > until and all(map(process.is_stuck, tree.children())):
            return False
    return True


class Ending:
    """The ending of an attempt. `deadline`: when it times out. `kill_at`: when to send SIGKILL (CLOCK_MONOTONIC, s).

    `cause`: if the attempt was stopped, its state and reason, whatever the command's exit status; otherwise None.
    """

    __slots__ = ("_cgroup", "_order", "_pause", "cause", "deadline", "kill_at")

    def __init__(self, order: LaunchSpec, cgroup: Cgroup) -> None:
        self._order, self._cgroup = order, cgroup
        self.deadline = self.kill_at = NEVER
        self.cause: tuple[str, Reason] | None = None
        self._pause = _FIRST_PAUSE

    def begin(self, now: float) -> None:
        """Start the timeout."""
        if self._order["timeout"] is not None:
            self.deadline = now + self._order["timeout"]

    def signal_stop(self, now: float, *, is_signalled: bool = False) -> None:
        """Send `stop_signal` now, and SIGKILL after `kill_grace`.

        `is_signalled`: whether all processes already got SIGTERM.
        """
        number = signal_number(self._order["stop_signal"])
        if not is_signalled or number != signal.SIGTERM:
            tree.signal_all(number)
        tree.signal_all(signal.SIGCONT)  # a suspended process would not handle the signal
        self.deadline = NEVER
        self.kill_at = now + self._order["kill_grace"]

    def kill(self, now: float) -> None:
        """Send SIGKILL to all remaining processes, and schedule the next SIGKILL."""
        self._cgroup.kill()
        tree.signal_all(signal.SIGKILL)
        self.kill_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def warning(self) -> str:
        """Return the record's warning about the first SIGKILL, or "" if SIGKILL was intended or already sent."""
        grace, name = self._order["kill_grace"], self._order["stop_signal"]
        if self._pause != _FIRST_PAUSE or not grace or name == "SIGKILL":
            return ""
        return f"did not end on {name}: SIGKILL after {grace:g} s"
