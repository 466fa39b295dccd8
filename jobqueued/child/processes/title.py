"""The title of a process in ps(1), pgrep(1) and systemctl(1): its arguments, overwritten where the kernel reads them.

They are in memory that a fork shares until it writes, so a title costs a page. Another place (prctl(2),
PR_SET_MM_ARG_START) would need CAP_SYS_RESOURCE, so a title is cut at the end of the arguments.
"""

from __future__ import annotations

import ctypes
import sys

from jobqueued.child.processes import process

_ADDRESS, _ROOM = process.arguments()
_PLACE = (ctypes.c_char * _ROOM).from_address(_ADDRESS)
_LAST = sys.argv[1:2]


def entitle(*words: str) -> None:
    """Show these words, and the first argument of this process, as its arguments."""
    data = "\0".join([*words, *_LAST]).encode(errors="replace")[: max(0, _ROOM - 1)]
    _PLACE.raw = data.ljust(_ROOM, b"\0")
