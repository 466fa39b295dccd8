"""A file system that never answers: python tests/support/hung.py DIRECTORY.  Who looks into it can't be killed.

It is mounted when a line is on stdout, and gone with the process, which frees all that wait for it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MNT_DETACH, _PR_SET_PDEATHSIG = 2, 1
_HEAD = struct.Struct("IIQ")
_LARGEST = 1 << 17


@contextmanager
def hung(directory: Path) -> Iterator[None]:
    """Let all in a directory hang meanwhile."""
    with subprocess.Popen([sys.executable, __file__, str(directory)], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert b"ready\n" == server.stdout.readline()
            yield
        finally:
            server.kill()
            ctypes.CDLL(None).umount2(os.fsencode(directory), _MNT_DETACH)


def is_possible() -> bool:
    """True if this process may mount one."""
    return os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)


def _serve(directory: str) -> None:
    """Say yes to FUSE_INIT, and nothing any more (linux/fuse.h)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever ends the test, nobody hangs for ever
    descriptor = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"hung", os.fsencode(directory), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _length, _init, number = _HEAD.unpack(os.read(descriptor, _LARGEST)[: _HEAD.size])
    answer = struct.pack("IIIIHHI", 7, 12, 0, 0, 0, 0, 4096)
    os.write(descriptor, struct.pack("IiQ", 16 + len(answer), 0, number) + answer)
    print("ready", flush=True)
    while True:
        os.read(descriptor, _LARGEST)


if __name__ == "__main__":
    _serve(sys.argv[1])
