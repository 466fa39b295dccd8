"""inotify(7), which Python does not wrap. Constants have the manual page's names; functions raise OSError."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

from jobqueued.child.contract.tuples import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE = 0x2, 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_MASK_ADD = 0x0100_0000, 0x0200_0000, 0x2000_0000

_CHUNK = 64 << 10


class InotifyEvent(NamedTuple):
    """An event: its watch, its bits, and the file name in the watched directory, or "" for the directory itself."""

    watch: int
    mask: int
    name: str


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def instance() -> int:
    """Return a non-blocking inotify(7) descriptor."""
    return _checked("inotify_init1", _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def watch(descriptor: int, path: str, mask: int) -> int:
    """Add a watch for `path` and return its number."""
    return _checked("inotify_add_watch", _libc.inotify_add_watch(descriptor, os.fsencode(path), mask))


def unwatch(descriptor: int, number: int) -> None:
    """Remove the watch with this number."""
    _checked("inotify_rm_watch", _libc.inotify_rm_watch(descriptor, number))


def events(descriptor: int, most: int = 1 << 20) -> Iterator[InotifyEvent]:
    """Read the pending events without waiting, at most `most` bytes.

    The default covers the kernel's default queue (fs.inotify.max_queued_events).
    """
    with contextlib.suppress(BlockingIOError):
        for size in range(most, 0, -_CHUNK):
            yield from _parsed(os.read(descriptor, min(size, _CHUNK)))


def _parsed(data: bytes) -> Iterator[InotifyEvent]:
    offset = 0
    while offset < len(data):
        number, mask, _cookie, size = struct.unpack_from("iIII", data, offset)
        name = data[offset + 16 : offset + 16 + size].rstrip(b"\0")
        offset += 16 + size
        yield InotifyEvent(number, mask, os.fsdecode(name))
