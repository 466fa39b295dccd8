"""The one timer of the loop, on CLOCK_REALTIME: the kernel cancels it when a process sets the clock."""

from __future__ import annotations

import contextlib
import os

from jobqueued.base.instants import SECOND
from jobqueued.host import linux

_SLEW = SECOND // 2
"""Maximum change (ns) of the clock between two turns that counts as NTP's slewing, not as a step."""


class WallTimer:
    """A timer that fires at an instant of the wall clock, and measures steps of this clock."""

    def __init__(self) -> None:
        self._timer = linux.realtime_timer()
        self._armed: int | None = None
        self._offset, self._asleep = linux.realtime_offset(), linux.time_asleep()

    def fileno(self) -> int:
        """Return the descriptor, readable once the timer fires or the clock is set."""
        return self._timer

    def set(self, wake: int) -> bool:
        """Arm the timer.  Return False if the clock was just set, so that `wake` (wall, ns) may be outdated."""
        if wake != self._armed:
            self._armed = wake if linux.arm(self._timer, wake) else None
        return self._armed is not None

    def rang(self) -> None:
        """Handle the timer's expiry, so that the timer is rearmed."""
        self._armed = None
        with contextlib.suppress(OSError):  # ECANCELED means that the clock was set, which `step` reports
            os.read(self._timer, 8)

    def slept(self) -> int:
        """Return the time (ns) that the host was suspended since the last call."""
        asleep, before = linux.time_asleep(), self._asleep
        self._asleep = asleep
        return asleep - before if asleep - before > _SLEW else 0

    def step(self) -> int:
        """Return the step (ns) of the clock since the last call, or 0 if there was none."""
        offset, before = linux.realtime_offset(), self._offset
        self._offset = offset
        return offset - before if abs(offset - before) > _SLEW else 0
