"""The news that somebody has emptied the directory of all R's: a file among them goes with whoever does.

It is `emptied` until a commit holds which starts are in doubt since, then `whole`.  Where neither is there by then, the
directory was emptied once more, and all that was launched until now is in doubt.
"""

from __future__ import annotations

import os
import time

from jobqueued.model import SECOND

WHOLE, EMPTIED = "whole", "emptied"
_AGAIN = 10 * SECOND


class Emptying:
    """The files of one directory, as one scheduler makes them."""

    def __init__(self, runs: str) -> None:
        self._runs, self._times = runs, 0
        self.deadline: int | None = None
        """When (monotonic, ns) to begin anew, as that, or what followed, could not be noted; None: it was."""

    @property
    def era(self) -> int | None:
        """A number that is another after each emptying; None: there was one, and nobody knows yet what is in doubt."""
        names = (WHOLE, EMPTIED) if self._times else (WHOLE,)
        return self._times if any(os.path.exists(f"{self._runs}/{name}") for name in names) else None

    def begin(self) -> bool:
        """Begin an era: what was launched, and has not told of its start, is in doubt.  False: it can't be noted."""
        self.deadline = time.monotonic_ns() + _AGAIN
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(f"{self._runs}/{EMPTIED}", flags, 0o600))
        except OSError:
            return False
        self._times, self.deadline = self._times + 1, None
        return True

    def settle(self) -> None:
        """Note that a commit holds what is in doubt: from now on other schedulers need not doubt anew."""
        try:
            os.rename(f"{self._runs}/{EMPTIED}", f"{self._runs}/{WHOLE}")
        except OSError:  # it was emptied again, or is read-only
            self.deadline = time.monotonic_ns() + _AGAIN
