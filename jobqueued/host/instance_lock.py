"""Locks of the daemon's directories and of its PID file: one daemon for each; the kernel lets go of them when it ends,
however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from jobqueued.child.trust import Refused, check_status

PRIVATE = 0o600


class CannotLock(OSError):
    """The lock can't be had; `strerror` says why, with the remedy.  Where another has it, `errno` is EADDRINUSE."""


class InstanceLock:
    """The lock of one file.  Who can read one can lock it: that of others than ours, as of a PID file, counts for
    nothing.  `name`: what it is for; `option`: how to name another.
    """

    def __init__(self, file: Path, name: str, option: str, mode: int = PRIVATE) -> None:
        """Take it; CannotLock."""
        self.file, self._name, self._option, self._mode = file, name, option, mode
        self.descriptor = self._taken()

    def retake(self) -> None:
        """Take it again, if the file was removed or is another; CannotLock: somebody else was quicker."""
        if self._is_there():
            return
        old, self.descriptor = self.descriptor, self._taken()
        os.close(old)
        with contextlib.suppress(OSError):  # on a full disk nobody learns who holds it, and it is held all the same
            self.write_pid()

    def write_pid(self) -> None:
        """Say who holds it; OSError."""
        os.pwrite(self.descriptor, b"%d\n" % os.getpid(), 0)

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.lstat(self.file), os.fstat(self.descriptor))
        return False

    def _taken(self) -> int:
        descriptor = -1
        try:
            descriptor = _opened(self.file, self._mode)
            with contextlib.suppress(OSError):  # a file system that is read-only
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
            text = f"{self.file}: {error.strerror}; jobqueued must be able to write there"
            raise _given_up(descriptor, error.errno, text) from None
        except Refused as refused:
            raise _given_up(descriptor, errno.EPERM, f"{self.file}: {refused}") from None
        with contextlib.suppress(OSError):  # only for the next message
            os.ftruncate(descriptor, 0)
        return descriptor


def _given_up(descriptor: int, number: int | None, text: str) -> CannotLock:
    """The error, once the file is closed: it may be tried again."""
    if descriptor >= 0:
        os.close(descriptor)
    return CannotLock(number, text)


def _is_ours(pid: str) -> bool:
    """True of a live process of the daemon's user."""
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _lock_once_free(descriptor: int) -> None:
    """Lock a file: BlockingIOError.  A launcher about to be started holds the lock of a dead daemon for a while."""
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if os.path.exists(f"/proc/{_holder(descriptor)}"):
            break
        time.sleep(0.02)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> str:
    """Whoever has written its pid into a locked file."""
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip()


def _opened(file: Path, mode: int) -> int:
    """A descriptor of the file, which is made; where nobody can write there, as it is: a lock needs no writing."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(file, flags | os.O_RDWR | os.O_CREAT, mode)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EPERM):  # EPERM: it is immutable
            raise
    return os.open(file, flags | os.O_RDONLY)
