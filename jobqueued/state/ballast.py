"""Ballast: space to give up when the disk is full, so that the ends of live runs can still be committed.

Nothing that goes wrong with it is worth a word: it is there, or there was no room for it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

BALLAST = 4 << 20


class Ballast:
    """A file in the state directory that takes its room on the disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "ballast"

    def lay(self) -> None:
        """Take the room, unless that would leave less than as much again."""
        with contextlib.suppress(OSError):
            there = os.statvfs(self._path.parent)
            if there.f_bavail * there.f_frsize >= 2 * BALLAST and not self._is_whole():
                self._fill()

    def _is_whole(self) -> bool:
        return self._path.exists() and self._path.stat().st_size >= BALLAST

    def _fill(self) -> None:
        try:
            with open(self._path, "ab") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST)
        except OSError:
            self.give_up()

    def give_up(self) -> bool:
        """Make room; False: it was given up before, or can't be."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
