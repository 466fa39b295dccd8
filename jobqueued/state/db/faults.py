"""Faults of state.db and its disk, each with a remedy.

SQLite seldom reports the cause of a failure: for a read-only disk and for an exceeded quota, it reports the same "disk
I/O error". Therefore this module writes a small test file next to state.db to get the kernel's error.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from enum import Enum
from pathlib import Path


class StateFault(Enum):
    """The kinds of faults, each with its remedy."""

    FULL = "free space on its file system"
    READ_ONLY = "remount it read-write (dmesg shows why it is read-only)"
    FAILING = "look for disk errors: dmesg"
    GONE = "create this directory again, with mode 0700"
    DENIED = "make it writable for jobqueued"
    LIMIT = "raise the limit (LimitNOFILE=, LimitFSIZE= of the service; fs.file-max)"
    MEMORY = "free memory"
    BUSY = "end the program that has it open: fuser state.db"
    BROKEN = "jobqueued sets it aside and writes a new one"
    FOREIGN = "jobqueued checks it and writes it again"
    BUG = "please report this bug"

    @property
    def remedy(self) -> str:
        """The remedy, as text for people."""
        return self.value


class StoreError(Exception):
    """The state can't be used, or a part of the state can't be read. The message contains the cause and the remedy."""


class CommitFailed(Exception):
    """The state can't be saved, and this commit saved nothing. `fault` is the cause; the message is SQLite's or the
    kernel's.
    """

    def __init__(self, text: str, fault: StateFault) -> None:
        super().__init__(text)
        self.fault = fault


_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_ERRNO = {
    **dict.fromkeys(_FULL, StateFault.FULL),
    **dict.fromkeys((errno.EROFS,), StateFault.READ_ONLY),
    **dict.fromkeys((errno.EACCES, errno.EPERM), StateFault.DENIED),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.EFBIG), StateFault.LIMIT),
    errno.ENOMEM: StateFault.MEMORY,
    errno.ENOENT: StateFault.GONE,
}
"""errno → fault; any other error is FAILING."""

_OF_SQLITE = {
    sqlite3.SQLITE_FULL: StateFault.FULL,
    sqlite3.SQLITE_CORRUPT: StateFault.BROKEN,
    sqlite3.SQLITE_NOTADB: StateFault.BROKEN,
    sqlite3.SQLITE_NOMEM: StateFault.MEMORY,
    sqlite3.SQLITE_BUSY: StateFault.BUSY,
    sqlite3.SQLITE_LOCKED: StateFault.BUSY,
}
"""SQLite's primary code → fault; for any other code, a test file shows the fault."""

_UNREADABLE = sqlite3.SQLITE_IOERR_SHORT_READ
"""SQLite's code for a file that is shorter than its header says."""


def of_code(code: int) -> StateFault | None:
    """Return the fault for an extended error code of SQLite, or None if a test file must show the fault."""
    return StateFault.BROKEN if code == _UNREADABLE else _OF_SQLITE.get(code & 0xFF)


def failure(error: Exception, directory: Path) -> CommitFailed:
    """Return a CommitFailed for an error; a test file in `directory` shows the cause if necessary."""
    if isinstance(error, CommitFailed):
        return error
    if isinstance(error, StoreError):
        return CommitFailed(str(error), StateFault.FAILING)
    if isinstance(error, OSError):
        return CommitFailed(error.strerror or str(error), _OF_ERRNO.get(error.errno or 0, StateFault.FAILING))
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python raised the error, because it could not pass the data to SQLite
        return CommitFailed(str(error), StateFault.BUG)
    if (known := of_code(code)) is not None:
        return CommitFailed(
            "the file is shorter than the size in its header" if code == _UNREADABLE else str(error), known
        )
    if (found := _asked(directory)) is not None:
        return CommitFailed(f"{error}: {found.strerror}", _OF_ERRNO.get(found.errno or 0, StateFault.FAILING))
    path = str(directory / "state.db")
    is_fixed = os.path.exists(path) and not os.access(path, os.W_OK)  # e.g. by chattr(1); SQLite opens it read-only
    fault = StateFault.DENIED if is_fixed or code & 0xFF == sqlite3.SQLITE_READONLY else StateFault.FAILING
    return CommitFailed(f"{error}, {getattr(error, 'sqlite_errorname', code)}", fault)


def _asked(directory: Path) -> OSError | None:
    """Create, write, sync and remove a small test file in a directory; return the error, or None if all succeeded."""
    path = directory / "probe"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
        try:
            data = bytes(4096)
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            os.unlink(path)
    except OSError as error:
        return error
    return None
