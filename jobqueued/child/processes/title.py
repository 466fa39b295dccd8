"""The title of a process in ps(1), pgrep(1) and systemctl(1), written over the arguments in its memory.

A fork shares this memory until it writes to it, so a title costs a page. A title is cut to the length of the arguments,
because moving them (prctl(2), PR_SET_MM_ARG_START) requires CAP_SYS_RESOURCE.
"""

from __future__ import annotations

import ctypes
import sys

from jobqueued.child.processes import process

_ADDRESS, _ROOM = process.arguments()
_PLACE = (ctypes.c_char * _ROOM).from_address(_ADDRESS)
_LAST = sys.argv[1:2]


def entitle(*words: str) -> None:
    """Show this process's first argument and these words as its arguments."""
    data = "\0".join([*words, *_LAST]).encode(errors="replace")[: max(0, _ROOM - 1)]
    _PLACE.raw = data.ljust(_ROOM, b"\0")
