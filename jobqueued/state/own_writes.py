"""Our own writes to state.db and its log, by what both are like after the last of them: what differs others have done.

SQLite keeps others from opening them, and nobody from cutting or overwriting them.  A commit has two looks at each.
"""

from __future__ import annotations

import os
from pathlib import Path

from jobqueued.state.faults import CommitFailed, Fault, failure

Look = tuple[int, int, int, int]
"""A file as stat(2) has it: device, inode, size, time of its last change."""
_SIZE = 2


class OwnWrites:
    """The writes to a state.db that was just opened, or made."""

    def __init__(self, path: Path) -> None:
        self._directory, self._file, self._log = path.parent, str(path), f"{path}-wal"
        self._seen, self._seen_log = _look(self._file), _look(self._log)

    def note(self, *, tidied: bool = False) -> None:
        """Remember what both are like now, as we wrote to them; `tidied`: the log was emptied.

        What has come in the place of one since is none of ours, nor is a cut.
        """
        try:
            file, log = _look(self._file), _look(self._log)
        except OSError:  # the next look is at what is not as it was
            return
        if _goes_on(self._seen, file):
            self._seen = file
        if self._seen_log is None or (tidied and _is_same(self._seen_log, log)) or _goes_on(self._seen_log, log):
            self._seen_log = log

    def is_another(self) -> bool:
        """Tell whether another file, or none, has come in the place of state.db."""
        try:
            return not _is_same(self._seen, _look(self._file))
        except OSError:
            return False

    def trouble(self) -> CommitFailed | None:
        """The failure that writes of others are; None: there were none."""
        was = self._seen
        try:
            file, log = _look(self._file), _look(self._log)
        except OSError as error:
            return failure(error, self._directory)
        if file == was and log == self._seen_log:
            return None
        if was is None or file is None or not _is_same(was, file):
            return CommitFailed("it was removed or replaced", Fault.BROKEN)
        if file[_SIZE] < was[_SIZE]:
            return CommitFailed(f"it is cut to {file[_SIZE]} bytes", Fault.BROKEN)
        return CommitFailed("another program has written to it, or to its log", Fault.FOREIGN)


def _look(path: str) -> Look | None:
    """None: there is none; OSError: nobody can tell."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _is_same(was: Look | None, now: Look | None) -> bool:
    return was is not None and now is not None and was[:_SIZE] == now[:_SIZE]


def _goes_on(was: Look | None, now: Look | None) -> bool:
    """Tell whether a file is the one that it was, and has not become smaller."""
    return was is not None and now is not None and _is_same(was, now) and was[_SIZE] <= now[_SIZE]
