"""Fibers: programs that take turns, each with a stack of its own; so a simulated process can wait anywhere.

Each is a thread that holds still until it is resumed.  Only one of all threads runs at any moment, so the order is that
of whoever resumes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_STACK = 1 << 19


class Fiber:
    """One program; `run` begins with the first `resume`."""

    __slots__ = ("_here", "_run", "_there", "_thread", "error", "over")

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._here, self._there = threading.Lock(), threading.Lock()
        self._here.acquire()
        self._there.acquire()
        self._thread: threading.Thread | None = None
        self.over = False
        self.error: BaseException | None = None
        """What it has ended with, if that was an exception."""

    @property
    def begun(self) -> bool:
        """True once it was resumed."""
        return self._thread is not None

    def resume(self) -> None:
        """Let it run until it suspends itself, or is over."""
        if self._thread is None:
            threading.stack_size(_STACK)
            self._thread = threading.Thread(target=self._main, daemon=True)
            self._thread.start()
        else:
            self._here.release()
        self._there.acquire()
        if self.over:
            self._thread.join()

    def suspend(self) -> None:
        """Let whoever has resumed this one go on, until the next `resume`; called by the fiber itself."""
        self._there.release()
        self._here.acquire()

    def _main(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.error = error
        finally:
            self.over = True
            self._there.release()
