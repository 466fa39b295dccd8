"""Lock files: flock(2) on the paths that a job names among its locks, held while its run lives.

The lock lives and dies with the supervisor: the descriptors are close-on-exec, and no job has them.
"""

from __future__ import annotations

import fcntl
import os

from jobqueued.child.identity import StartFailed

_FLAGS = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
BUSY = "path busy"
"""The beginning of the reason of an attempt that was not started as another program has one of its files.

Schedulers of all versions know it by these words.
"""


class Busy(Exception):
    """Another program has the lock; str() is its path."""


class LockFiles:
    """The locks of one attempt, from `take` to `free`."""

    def __init__(self, wanted: list[tuple[str, bool]]) -> None:
        """`wanted`: paths, and whether each is to be had alone."""
        self._wanted = wanted
        self._held: list[int] = []
        self.trouble: StartFailed | None = None
        """The reason why one can't be had at all."""

    def take(self) -> None:
        """All of them, without waiting; Busy, and none is held, where another program has one."""
        for path, alone in self._wanted:
            try:
                descriptor = os.open(path, _FLAGS, 0o644)
                self._held.append(descriptor)
                fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                self.free()
                raise Busy(path) from None
            except OSError as error:
                self.free()
                self.trouble = StartFailed("lock", error.errno or 0, f"{path}: {error.strerror}")
                return

    def free(self) -> None:
        """Let go of them."""
        while self._held:
            os.close(self._held.pop())
