"""The title of a process in ps(1), pgrep(1) and systemctl(1): its arguments, written over where the kernel reads them.

They lie in memory that a fork shares until it writes: a title costs a page.  Another place for them (prctl(2),
PR_SET_MM_ARG_START) would need CAP_SYS_RESOURCE, so a title is cut where the arguments end.
"""

from __future__ import annotations

import ctypes
import sys

_START, _END = 48 - 3, 49 - 3
"""The fields arg_start and arg_end of proc_pid_stat(5), counted behind the name."""


class Title:
    """The arguments of this process; the first of those that it has stays, as the last of each title."""

    def __init__(self) -> None:
        self._last = sys.argv[1:2]
        try:
            with open("/proc/self/stat", "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
        except OSError:
            fields = [b"0"] * 50
        self._start, end = int(fields[_START]), int(fields[_END])
        self._room = end - self._start if self._start else 0

    def say(self, *words: str) -> None:
        """Show these words; nothing, where the kernel does not tell where the arguments are."""
        data = "\0".join([*words, *self._last]).encode(errors="replace")[: max(0, self._room - 1)]
        ctypes.memmove(self._start, data.ljust(self._room, b"\0"), self._room)
