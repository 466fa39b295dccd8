"""The budget of lines that a launcher's supervisors may together send to journald, as token buckets in shared memory.

journald has a limit (by default 10,000 lines in 30 s) for each unit, here the launcher's scope. If a run exceeds it,
all runs in the unit lose lines. Therefore, the supervisors share the limit and remain below it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable

from jobqueued.child.contract.tuples import NamedTuple

_SECOND = 1_000_000_000
_TRIES, _PAUSE = 200, 0.0001
_RESERVE, _FEW = 500, 10
_MFD_NOEXEC_SEAL = 8
_BUCKETS, _NUMBER = 64, 8


class Bucket:
    """A bucket with at most `burst` tokens and `rate` new tokens a second, for all processes that inherited it.

    The shared memory contains several buckets. `user` selects a bucket; several users may share one. A bucket is a
    number: the instant (CLOCK_MONOTONIC, ns) when it will be full. A lock protects the numbers, but a process waits for
    the lock only 20 ms, then continues without it. So a process that was suspended with the lock may later restore
    tokens that other processes took, at most a full bucket.
    """

    def __init__(self, burst: int, rate: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._memory = _shared_memory()

    def take(self, wanted: int, lately: float, user: str = "") -> int:
        """Take up to `wanted` tokens for a run that took `lately` tokens recently. Return the number of taken tokens.

        A run gets at most half of the remaining tokens, after its recent tokens are subtracted from these. So the last
        tokens are for runs that sent little, and a new run always gets some.
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
        """Close the shared memory."""
        os.close(self._memory)


class CommonBudget(NamedTuple):
    """The budgets that all supervisors share: `lines` for output, and `notes` for messages about unsent lines.

    journald limits these separately, because their priorities differ. `of_users`: a budget of output lines for each
    user.
    """

    lines: Bucket
    notes: Bucket
    of_users: Bucket


def common() -> CommonBudget:
    """Return a budget of 8,000 lines in any 30 s, 5,000 at once.

    The budgets for notes and for a user are half as large.
    """
    return CommonBudget(Bucket(5_000, 100), Bucket(2_500, 50), Bucket(2_500, 50))


def _shared_memory() -> int:
    """Return anonymous memory as a file. Hardened hosts require the flag, which kernels before 6.3 do not have."""
    try:
        return os.memfd_create("budget", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("budget")
