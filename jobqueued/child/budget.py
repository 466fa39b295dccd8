"""The budget of lines that all supervisors of one launcher may send to journald: buckets in memory that they share.

journald has one limit, 10,000 lines in 30 s by default, for everything in a unit, here the launcher's scope: who goes
over it is cut off together with all neighbours.  So we stay below it, and share what there is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable

from jobqueued.child.tuples import NamedTuple

_SECOND = 1_000_000_000
_TRIES, _PAUSE = 200, 0.0001
_RESERVE, _FEW = 500, 10
_MFD_NOEXEC_SEAL = 8
_BUCKETS, _NUMBER = 64, 8


class Bucket:
    """Holds `burst` tokens at most and gets `rate` a second, for all processes that have inherited it; or several
    buckets, one for each `user`, of whom some may share one.

    All of one is a number, the instant (CLOCK_MONOTONIC, ns) at which it will be full, changed under a lock.  Nobody
    waits long for the lock: a process that stands still while it holds it is passed by after 20 ms, and then may, when
    it goes on, give back what was taken meanwhile, one full bucket at most.
    """

    def __init__(self, burst: int, rate: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._memory = _shared_memory()

    def take(self, wanted: int, lately: float, user: str = "") -> int:
        """Take up to so many tokens, and say how many there were for one that has taken `lately` before.

        It gets no more than half of what is left beyond as much as it had already, and the last of it is for those who
        have said little: whoever comes new finds something.
        """
        place, locked = sum(user.encode()) % _BUCKETS * _NUMBER, self._lock()
        try:
            now = self._clock()
            full_at = max(now, int.from_bytes(os.pread(self._memory, _NUMBER, place), "little"))
            left = self._burst - (full_at - now) * self._rate / _SECOND
            share = max((left - _RESERVE - lately + 1) / 2, min(left, _FEW - lately))
            granted = max(0, min(wanted, int(share)))
            if granted:
                os.pwrite(self._memory, (full_at + granted * _SECOND // self._rate).to_bytes(_NUMBER, "little"), place)
        finally:
            if locked:
                os.lockf(self._memory, os.F_ULOCK, 0)
        return granted

    def _lock(self) -> bool:
        for _ in range(_TRIES):
            with contextlib.suppress(BlockingIOError, PermissionError):
                os.lockf(self._memory, os.F_TLOCK, 0)
                return True
            time.sleep(_PAUSE)
        return False

    def close(self) -> None:
        """Let go of it."""
        os.close(self._memory)


class Common(NamedTuple):
    """The common budget: of the lines of jobs, and of the notes on lines that were not sent.

    journald counts the two apart, as their priorities differ.  `of_users`: what all runs of each user may send of the
    lines.
    """

    lines: Bucket
    notes: Bucket
    of_users: Bucket


def common() -> Common:
    """At most 8,000 lines in any 30 s, 5,000 of them at once; of notes, and of the lines of a user, half as many."""
    return Common(Bucket(5_000, 100), Bucket(2_500, 50), Bucket(2_500, 50))


def _shared_memory() -> int:
    """Anonymous memory as a file; the flag, which kernels before 6.3 do not know, is what hardened hosts insist on."""
    try:
        return os.memfd_create("budget", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("budget")
