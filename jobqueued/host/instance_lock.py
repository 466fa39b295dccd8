"""Locks on the daemon's directories and its PID file, so that only one daemon uses each. The kernel releases the locks
when the daemon ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from jobqueued.child.contract.trust import FileRefused, check_status

PRIVATE = 0o600


class CannotLock(OSError):
    """A lock is unavailable; `strerror` includes the remedy. If another daemon holds the lock, `errno` is
    EADDRINUSE.
    """


class InstanceLock:
    """The lock of one file.

    Any user who can read a file can lock it. Therefore, for files that other users can read, such as a PID file, only
    locks held by the daemon's user count. `name`: the purpose of the file. `option`: the command-line option that
    selects another file.
    """

    def __init__(self, file: Path, name: str, option: str, mode: int = PRIVATE) -> None:
        """Acquire the lock. Raises CannotLock if this fails."""
        self.file, self._name, self._option, self._mode = file, name, option, mode
        self.descriptor = self._taken()

    def retake(self) -> None:
        """Reacquire the lock if the file was removed or replaced. Raises CannotLock if another process holds the
        lock.
        """
        if self._is_there():
            return
        old, self.descriptor = self.descriptor, self._taken()
        os.close(old)
        with contextlib.suppress(
            OSError
        ):  # on a full disk, the file does not show the holder's PID, but the lock is held
            self.write_pid()

    def write_pid(self) -> None:
        """Write the PID of this process into the file.  Raises OSError."""
        os.pwrite(self.descriptor, b"%d\n" % os.getpid(), 0)

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.lstat(self.file), os.fstat(self.descriptor))
        return False

    def _taken(self) -> int:
        descriptor = -1
        try:
            descriptor = _opened(self.file, self._mode)
            with contextlib.suppress(OSError):  # this fails on a read-only file system
                os.fchmod(descriptor, self._mode)
            check_status(os.fstat(descriptor), str(self.file), os.geteuid())
            _lock_once_free(descriptor)
        except BlockingIOError:
            holder = _holder(descriptor)
            if self._mode == PRIVATE or _is_ours(holder):
                text = f"{self._name} is in use by another jobqueued (pid {holder or 'unknown'})"
                raise _given_up(
                    descriptor, errno.EADDRINUSE, f"{text}; stop it, or use another {self._option}"
                ) from None
        except OSError as error:
            text = f"{self.file}: {error.strerror}; jobqueued needs write permission there"
            raise _given_up(descriptor, error.errno, text) from None
        except FileRefused as refused:
            raise _given_up(descriptor, errno.EPERM, f"{self.file}: {refused}") from None
        with contextlib.suppress(OSError):  # a stale PID would only confuse the next message
            os.ftruncate(descriptor, 0)
        return descriptor


def _given_up(descriptor: int, number: int | None, text: str) -> CannotLock:
    """Close the file, and return the error that the caller must raise."""
    if descriptor >= 0:
        os.close(descriptor)
    return CannotLock(number, text)


def _is_ours(pid: str) -> bool:
    """Return whether a PID belongs to a live process that runs as the daemon's user."""
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _lock_once_free(descriptor: int) -> None:
    """Lock a file. Wait briefly, because a launcher that is just starting may still hold the lock of a dead daemon.

    Raises BlockingIOError if the lock remains held.
    """
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if os.path.exists(f"/proc/{_holder(descriptor)}"):
            break
        time.sleep(0.02)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> str:
    """Return the PID in a locked file."""
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip()


def _opened(file: Path, mode: int) -> int:
    """Open or create the file. If the file is not writable, open it read-only, which suffices for a lock."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(file, flags | os.O_RDWR | os.O_CREAT, mode)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EPERM):  # EPERM means that the file is immutable
            raise
    return os.open(file, flags | os.O_RDONLY)
