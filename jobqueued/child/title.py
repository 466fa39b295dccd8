"""The title of a process in ps(1), pgrep(1) and systemctl(1): its arguments, written over where the kernel reads them.

They lie in memory that a fork shares until it writes: a title costs a page.  Another place for them (prctl(2),
PR_SET_MM_ARG_START) would need CAP_SYS_RESOURCE, so a title is cut where the arguments end.
"""

from __future__ import annotations

import ctypes
import sys

from jobqueued.child import process

_ADDRESS, _ROOM = process.arguments()
_PLACE = (ctypes.c_char * _ROOM).from_address(_ADDRESS)
_LAST = sys.argv[1:2]


def entitle(*words: str) -> None:
    """Show these words, and the first argument that this process was started with, as its arguments."""
    data = "\0".join([*words, *_LAST]).encode(errors="replace")[: max(0, _ROOM - 1)]
    _PLACE.raw = data.ljust(_ROOM, b"\0")
