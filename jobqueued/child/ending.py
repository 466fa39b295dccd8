"""The ending of an attempt: its stop signal, a grace, and SIGKILL to all that is left, again and again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from jobqueued.child import process, tree
from jobqueued.child.account import NEVER
from jobqueued.child.cgroup import Cgroup
from jobqueued.child.documents import LaunchSpec
from jobqueued.child.signals import signal_number

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0
"""Between one SIGKILL to all and the next: a fork bomb may have children that we did not see."""
_UNKILLABLE = 2.0
"""Seconds after which what can't be killed, as a file system does not answer, keeps a failed start no longer."""


def ended_all(turn: Callable[[float], object], is_empty: Callable[[], bool]) -> bool:
    """End all below this process, with a turn of the loop between looks; False: what is left can't be killed yet."""
    until = time.monotonic() + _UNKILLABLE
    while not is_empty():
        tree.signal_all(signal.SIGKILL)
        turn(_FIRST_PAUSE)
        if time.monotonic() > until and all(map(process.is_stuck, tree.children())):
            return False
    return True


class Ending:
    """Of one attempt.  `deadline` is when it has timed out, `kill_at` when SIGKILL is due (monotonic).

    `cause` is the verdict, whatever its command makes of the signal.
    """

    __slots__ = ("_cgroup", "_order", "_pause", "cause", "deadline", "kill_at")

    def __init__(self, order: LaunchSpec, cgroup: Cgroup) -> None:
        self._order, self._cgroup = order, cgroup
        self.deadline = self.kill_at = NEVER
        self.cause: tuple[str, str] | None = None
        self._pause = _FIRST_PAUSE

    def begin(self, now: float) -> None:
        """It has started: its time runs."""
        if self._order["timeout"] is not None:
            self.deadline = now + self._order["timeout"]

    def tell(self, now: float, *, told: bool = False) -> None:
        """`stop_signal` now, SIGKILL after `kill_grace`.  `told`: another has sent all of them SIGTERM already."""
        number = signal_number(self._order["stop_signal"])
        if not told or number != signal.SIGTERM:
            tree.signal_all(number)
        tree.signal_all(signal.SIGCONT)  # what is stopped does not act on it
        self.deadline = NEVER
        self.kill_at = now + self._order["kill_grace"]

    def kill(self, now: float) -> None:
        """SIGKILL to all that is left, now and until nothing is."""
        self._cgroup.kill()
        tree.signal_all(signal.SIGKILL)
        self.kill_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def warning(self) -> str:
        """The words for the record before the first SIGKILL; "": none, it was asked for."""
        grace, name = self._order["kill_grace"], self._order["stop_signal"]
        if self._pause != _FIRST_PAUSE or not grace or name == "SIGKILL":
            return ""
        return f"did not end on {name}: SIGKILL after {grace:g} s"
