"""Ballast: space to give up when the disk is full, so that the ends of live runs can still be committed.

Nothing that goes wrong with it is worth a word: it is there, or there was no room for it.  What was set aside is
ballast too, once there is no other; that it had to go is said.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

BALLAST = 4 << 20
PARTS = ("", "-wal", "-journal", "-shm")
"""The endings of all files that belong to a database."""


class Ballast:
    """A file in the state directory that takes its room on the disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "ballast"
        self.removed: list[str] = []
        """The files set aside that were given up, until that is said."""

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
        """Make room, by the oldest state.db that was set aside if all else is gone; False: there is nothing to give."""
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        with contextlib.suppress(OSError):
            for oldest in set_aside(self._path.with_name("state.db"))[:1]:
                remove(oldest)
                self.removed.append(oldest.name)
                return True
        return False


def set_aside(path: Path) -> list[Path]:
    """Every database that was set aside, the oldest first: ``state.db.broken-N``; OSError."""
    name = re.compile(rf"{re.escape(path.name)}\.broken-(\d+)({'|'.join(PARTS)})", re.A)
    numbers = {int(found[1]) for other in path.parent.iterdir() if (found := name.fullmatch(other.name))}
    return [path.with_name(f"{path.name}.broken-{number}") for number in sorted(numbers)]


def remove(path: Path) -> None:
    """Remove a database and all that belongs to it; OSError."""
    for found in (path.with_name(path.name + part) for part in PARTS):
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)
