"""The title of a process in ps(1), pgrep(1) and systemctl(1): its arguments, written over where the kernel reads them.

They lie in memory that a fork shares until it writes: a title costs a page.  Another place for them (prctl(2),
PR_SET_MM_ARG_START) would need CAP_SYS_RESOURCE, so a title is cut where the arguments end.
"""

from __future__ import annotations

import ctypes
import sys

_START, _END = 48 - 3, 49 - 3
"""The fields arg_start and arg_end of proc_pid_stat(5), counted behind the name."""


def _arguments() -> tuple[int, int]:
    """The address and the size of the arguments of this process; 0 where the kernel does not tell."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return 0, 0
    start, end = int(fields[_START]), int(fields[_END])
    return start, end - start if start else 0


_ADDRESS, _ROOM = _arguments()
_LAST = sys.argv[1:2]


def entitle(*words: str) -> None:
    """Show these words, and the first argument that this process was started with, as its arguments."""
    data = "\0".join([*words, *_LAST]).encode(errors="replace")[: max(0, _ROOM - 1)]
    ctypes.memmove(_ADDRESS, data.ljust(_ROOM, b"\0"), _ROOM)
