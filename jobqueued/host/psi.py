"""Pressure on the host (PSI, Documentation/accounting/psi.rst): the kernel reports when work waits too long.

A trigger fires at most once in its window, while some work is stalled for more than the limit (a share of the time).
Pressure that is not reported again is over, so no polling is needed.
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
    """The triggers; `limits`: cpu, memory or io → percent of the time."""

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
        """Return the triggers; each has POLLPRI once its limit is exceeded."""
        return dict.fromkeys(self._triggers, select.POLLPRI)

    def ready(self, descriptor: int, now: Now) -> list[UnderPressure]:
        """Return the event for a trigger that fired."""
        return [UnderPressure(self._triggers[descriptor], now.mono + _LASTS)]


def _trigger(path: Path, percent: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"some %d %d\0" % (_WINDOW * percent // 100, _WINDOW))
    except OSError:  # without a trigger, poll(2) would return at once
        os.close(descriptor)
        raise
    return descriptor


def averages(directory: Path = DIRECTORY) -> dict[str, float | None]:
    """Return the share (%) of the last 10 s in which some task waited for cpu, memory or io; None if unknown."""
    return {name: _average(directory / name) for name in ("cpu", "memory", "io")}


def _average(path: Path) -> float | None:
    """Return the field avg10 of the first line: ``some avg10=1.53 avg60=…``."""
    try:
        return float(path.read_text().split()[1].partition("=")[2])
    except (OSError, ValueError, IndexError):
        return None
