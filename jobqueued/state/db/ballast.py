"""Ballast: a file to remove when the disk is full, so that the ends of live runs can still be committed.

Errors are not reported: either the ballast exists, or the disk had no room for it. If no ballast exists, the daemon
removes the oldest set-aside state.db instead, and logs the removal.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

BALLAST = 4 << 20
PARTS = ("", "-wal", "-journal", "-shm")
"""Suffixes of all files that belong to a database."""


class Ballast:
    """The ballast, a file in the state directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "ballast"
        self.removed: list[str] = []
        """Names of set-aside databases whose removal is not logged yet."""

    def lay(self) -> None:
        """Create the ballast, unless less space than the ballast's size would remain free."""
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
        """Make room: remove the ballast or, if it is missing, the oldest state.db that was set aside.

        Return False if neither exists.
        """
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
    """Return all set-aside databases (``state.db.broken-N``), oldest first. Raises OSError."""
    name = re.compile(rf"{re.escape(path.name)}\.broken-(\d+)({'|'.join(PARTS)})", re.A)
    numbers = {int(found[1]) for other in path.parent.iterdir() if (found := name.fullmatch(other.name))}
    return [path.with_name(f"{path.name}.broken-{number}") for number in sorted(numbers)]


def remove(path: Path) -> None:
    """Remove a database and all files that belong to it.  Raises OSError."""
    for found in (path.with_name(path.name + part) for part in PARTS):
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)
