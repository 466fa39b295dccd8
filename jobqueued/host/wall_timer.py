"""The one timer of the loop, on CLOCK_REALTIME: the kernel cancels it when somebody sets the clock."""

from __future__ import annotations

import contextlib
import os

from jobqueued.host import linux
from jobqueued.model import SECOND

_SLEW = SECOND // 2
"""Less than this between two turns is NTP's slewing, not a step."""


class WallTimer:
    """Rings at an instant of the wall clock, and tells by how much that was set."""

    def __init__(self) -> None:
        self._timer = linux.realtime_timer()
        self._armed: int | None = None
        self._offset, self._asleep = linux.realtime_offset(), linux.time_asleep()

    def fileno(self) -> int:
        """Readable once it rings, or the clock was set."""
        return self._timer

    def set(self, wake: int) -> bool:
        """Arm it.  False: the clock was set just now, and `wake` (wall, ns) may be of the old one."""
        if wake != self._armed:
            self._armed = wake if linux.arm(self._timer, wake) else None
        return self._armed is not None

    def rang(self) -> None:
        """Take note that it rang: it has to be set anew."""
        self._armed = None
        with contextlib.suppress(OSError):  # ECANCELED: the clock was set, which `step` tells
            os.read(self._timer, 8)

    def slept(self) -> int:
        """The time (ns) that the host was suspended since the last call."""
        asleep, before = linux.time_asleep(), self._asleep
        self._asleep = asleep
        return asleep - before if asleep - before > _SLEW else 0

    def step(self) -> int:
        """The step (ns) by which the clock was set since the last call; 0: it was not."""
        offset, before = linux.realtime_offset(), self._offset
        self._offset = offset
        return offset - before if abs(offset - before) > _SLEW else 0
