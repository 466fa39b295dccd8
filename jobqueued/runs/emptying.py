"""Detection that the directory of all R was emptied: a file in the directory disappears with the rest.

The file is named `emptied` until a commit contains the doubtful starts, and `whole` afterwards. If neither name exists,
the directory was emptied once more, and all launches until now are doubtful.
"""

from __future__ import annotations

import os
import time

from jobqueued.base.instants import SECOND

WHOLE, EMPTIED = "whole", "emptied"
_AGAIN = 10 * SECOND


class Emptying:
    """The file in the directory `runs`, for the lifetime of one scheduler."""

    def __init__(self, runs: str) -> None:
        self._runs, self._times = runs, 0
        self.deadline: int | None = None
        """Instant (monotonic, ns) to retry a failed write, or None if no write failed."""

    @property
    def count(self) -> int | None:
        """Number of handled emptyings, or None if the directory was emptied once more."""
        names = (WHOLE, EMPTIED) if self._times else (WHOLE,)
        return self._times if any(os.path.exists(f"{self._runs}/{name}") for name in names) else None

    def begin(self) -> bool:
        """Count an emptying, which makes all earlier launches without a reported start doubtful.

        Return False if the file can't be written.
        """
        self.deadline = time.monotonic_ns() + _AGAIN
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(f"{self._runs}/{EMPTIED}", flags, 0o600))
        except OSError:
            return False
        self._times, self.deadline = self._times + 1, None
        return True

    def settle(self) -> None:
        """Record that a commit contains the doubtful starts, so that later schedulers do not treat them as doubtful."""
        try:
            os.rename(f"{self._runs}/{EMPTIED}", f"{self._runs}/{WHOLE}")
        except OSError:  # the directory was emptied once more, or is read-only
            self.deadline = time.monotonic_ns() + _AGAIN
