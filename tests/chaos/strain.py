"""Strain on the host of the daemon: its clock is set, and calls of the kernel fail, by a library of ours (strain.c)."""

from __future__ import annotations

import mmap
import struct
import subprocess
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMPILER = "gcc"
TABLES, MEMORY, DISK = range(3)
"""ENFILE of what opens files and sockets, ENOMEM of what starts processes, EIO of what writes to files."""
_SOURCE = Path(__file__).with_name("strain.c")
_MOST, _HEAD = 1000, 8 * 4
_BUILD = ["-shared", "-fPIC", "-O2", "-w"]


class Strain:
    """The library, and the page by which it is told."""

    def __init__(self, folder: Path, *, is_wanted: bool) -> None:
        """Build it, if it is wanted."""
        self.environment: dict[str, str] = {}
        self._steps: list[tuple[int, int]] = []
        if is_wanted:
            library, page = folder / "strain.so", folder / "strain"
            subprocess.run([COMPILER, *_BUILD, "-o", library, _SOURCE, "-ldl", "-lpthread"], check=True)
            page.write_bytes(bytes(_HEAD + 16 * _MOST))
            with page.open("r+b") as file:
                self._page = mmap.mmap(file.fileno(), 0)
            self.environment = {"LD_PRELOAD": str(library), "JOBQUEUED_STRAIN": str(page)}

    @property
    def steps(self) -> list[tuple[int, int]]:
        """Since when (ns, ours) which offset (ns)."""
        return self._steps

    def __getstate__(self) -> dict[str, object]:
        """What is left of it afterwards: what the clock said."""
        return {"environment": {}, "_steps": self._steps}

    def set_clock(self, seconds: float) -> None:
        """Set the clock of the daemon by so many seconds."""
        since, offset = time.time_ns(), self.offset(1 << 62) + int(seconds * 1e9)
        struct.pack_into("qq", self._page, _HEAD + 16 * len(self._steps), since, offset)
        self._steps.append((since, offset))
        struct.pack_into("q", self._page, 0, len(self._steps))

    @contextmanager
    def failing(self, fault: int, thousandths: int) -> Iterator[None]:
        """So many of 1,000 calls fail."""
        struct.pack_into("q", self._page, 8 + 8 * fault, thousandths)
        yield
        struct.pack_into("q", self._page, 8 + 8 * fault, 0)

    def offset(self, at: int) -> int:
        """The offset (ns) of the daemon's clock at an instant of ours."""
        number = bisect_right(self._steps, (at, 1 << 62))
        return self._steps[number - 1][1] if number else 0

    def told(self, at: int) -> int:
        """What the daemon's clock said at an instant of ours."""
        return at + self.offset(at)

    def told_between(self, begin: int, end: int) -> tuple[int, int]:
        """The first and the last that it said between two instants of ours."""
        inside = [(at, offset) for at, offset in self._steps if begin <= at <= end]
        said = [self.told(begin), self.told(end), *(at + offset for at, offset in inside)]
        said += [self.told(at - 1) for at, _ in inside]
        return min(said), max(said)
