"""Detection of other programs' writes to state.db and its log. Any change since the daemon's last write counts.

SQLite's lock keeps other programs from opening the files in SQLite, but not from truncating or overwriting them. Each
commit checks both files before it writes, and checks the log once more afterwards. A commit changes state.db itself
only if the log is so long that SQLite moves it into the database.
"""

from __future__ import annotations

import os
from pathlib import Path

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.state.db.faults import CommitFailed, StateFault, failure
from jobqueued.state.db.opening import LONG

_LONG = LONG * (4096 + 24)
"""Size of the log (bytes) at which a commit may move it into state.db."""
_LEAST_HOLE = 128
"""Tolerance in blocks of 512 bytes, because on a compressing file system the same data may later take fewer blocks."""


class Look(NamedTuple):
    """The state of a file from stat(2). `blocks`: number of its blocks of 512 bytes, not counting holes.

    File systems may change this number without a write: XFS frees preallocated blocks, and ZFS updates the number late.
    """

    device: int
    inode: int
    size: int
    modified: int
    blocks: int


class OwnWrites:
    """The state of both files after the daemon's last write."""

    def __init__(self, path: Path) -> None:
        self._directory, self._file, self._log = path.parent, str(path), f"{path}-wal"
        self._seen, self._seen_log = _look(self._file), _look(self._log)

    def note(self) -> None:
        """Remember the state of both files after a commit.

        Keep the earlier state of a file that was replaced or truncated, or that has a new hole, because a commit never
        does this.
        """
        try:
            log = _look(self._log)
            if self._seen_log is None or _has_grown(self._seen_log, log):
                self._seen_log = log
                if log is not None and log.size >= _LONG:
                    self._note_file()
        except OSError:  # the next check finds the difference
            return

    def note_tidied(self) -> None:
        """Remember the state of both files after the daemon moved the log into state.db."""
        try:
            log = _look(self._log)
            if _is_same(self._seen_log, log):
                self._seen_log = log
            self._note_file()
        except OSError:
            return

    def _note_file(self) -> None:
        if _has_grown(self._seen, file := _look(self._file)):
            self._seen = file

    def is_another(self) -> bool:
        """Return whether state.db was removed or replaced."""
        try:
            return not _is_same(self._seen, _look(self._file))
        except OSError:
            return False

    def trouble(self) -> CommitFailed | None:
        """Return a CommitFailed if another program has written to the files, or None if none has."""
        was = self._seen
        try:
            file, log = _look(self._file), _look(self._log)
        except OSError as error:
            return failure(error, self._directory)
        if _is_unwritten(was, file) and _is_unwritten(self._seen_log, log):
            return None
        if was is None or file is None or not _is_same(was, file):
            return CommitFailed("it was removed or replaced", StateFault.BROKEN)
        if file.size < was.size:
            return CommitFailed(f"it was cut to {file.size} bytes", StateFault.BROKEN)
        return CommitFailed("another program has written to it or its log", StateFault.FOREIGN)


def _look(path: str) -> Look | None:
    """Return the state of a file, or None if the file does not exist. Raises OSError if the state is unknown."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return Look(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_blocks)


def _is_same(was: Look | None, now: Look | None) -> bool:
    return was is not None and now is not None and was[:2] == now[:2]


def _is_unwritten(was: Look | None, now: Look | None) -> bool:
    return was == now if was is None or now is None else was[:4] == now[:4]


def _has_grown(was: Look | None, now: Look | None) -> bool:
    """Return whether a file is the same file as before, is not smaller, and has no new hole."""
    if was is None or now is None or not _is_same(was, now) or now.size < was.size:
        return False
    return now.blocks * 512 >= now.size or now.blocks + _LEAST_HOLE >= min(was.blocks, was.size // 512)
