"""Pressure on the host (PSI, Documentation/accounting/psi.rst): the kernel reports when work waits too long.

While work waits for more than the limit (a share of the time), a trigger fires at most once in each window. If a
trigger does not fire again, the pressure is over, so no polling is needed.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from pathlib import Path

from jobqueued.model.events import UnderPressure
from jobqueued.model.job import Now
from jobqueued.model.source import Source

_WINDOW = 2_000_000
"""Window of a trigger (µs); without CAP_SYS_RESOURCE, only multiples of 2 s are allowed."""
_LASTS = 2 * _WINDOW * 1000

DIRECTORY = Path("/proc/pressure")


class PressureTriggers(Source):
    """The source of events about pressure. `limits`: cpu, memory or io → limit (percent of the time)."""

    def __init__(self, limits: Mapping[str, int], directory: Path = DIRECTORY) -> None:
        self._triggers: dict[int, str] = {}
        self._troubles: list[str] = []
        for name, percent in limits.items():
            path = directory / name
            try:
                self._triggers[_trigger(path, percent)] = name
            except OSError as error:
                self._troubles.append(
                    f"cannot watch {name} pressure, so no run waits for it to fall: {path}: {error.strerror}"
                )

    @property
    def troubles(self) -> list[str]:
        """Descriptions of the triggers that could not be set."""
        return self._troubles

    def descriptors(self) -> dict[int, int]:
        """Return the descriptors of the triggers; poll(2) reports POLLPRI for a trigger when its limit is exceeded."""
        return dict.fromkeys(self._triggers, select.POLLPRI)

    def ready(self, descriptor: int, now: Now) -> list[UnderPressure]:
        """Return the event for a trigger that fired."""
        return [UnderPressure(self._triggers[descriptor], now.mono + _LASTS)]


def _trigger(path: Path, percent: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"some %d %d\0" % (_WINDOW * percent // 100, _WINDOW))
    except OSError:  # poll(2) of a file without a trigger would return at once
        os.close(descriptor)
        raise
    return descriptor


def averages(directory: Path = DIRECTORY) -> dict[str, float | None]:
    """Return resource (cpu, memory, io) → share (%) of the last 10 s when some task waited for it, or None if
    unknown.
    """
    return {name: _average(directory / name) for name in ("cpu", "memory", "io")}


def _average(path: Path) -> float | None:
    """Return the field avg10 of the first line of a file, such as ``some avg10=1.53 avg60=…``, or None if it is
    unreadable.
    """
    try:
        return float(path.read_text().split()[1].partition("=")[2])
    except (OSError, ValueError, IndexError):
        return None
