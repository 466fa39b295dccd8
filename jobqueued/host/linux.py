"""Linux calls that Python 3.11 does not wrap (timerfd, inotify), and offsets between the kernel's clocks.

Every function raises OSError with the call's name; constants are those of the manual pages of the same name.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE = 0x2, 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_MASK_ADD = 0x0100_0000, 0x0200_0000, 0x2000_0000

_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
_CLOCK_REALTIME = 0


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_CHUNK = 64 << 10


class InotifyEvent(NamedTuple):
    """One event: the watch it belongs to, its bits, and the name inside the watched directory ("" for itself)."""

    watch: int
    mask: int
    name: str


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def realtime_timer() -> int:
    """A CLOCK_REALTIME timerfd(2), unarmed."""
    return _checked("timerfd_create", _libc.timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK_CLOEXEC))


def arm(timer: int, instant: int) -> bool:
    """Arm the timer for an absolute instant (ns); a later set of the clock makes read(2) fail with ECANCELED.

    False: it was set between the last call and this one, which the kernel tells once; arm again.
    """
    spec = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(instant, 1_000_000_000)))
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    failed = _libc.timerfd_settime(timer, flags, ctypes.byref(spec), None)
    if failed and ctypes.get_errno() == errno.ECANCELED:
        return False
    _checked("timerfd_settime", failed)
    return True


def realtime_offset() -> int:
    """REALTIME − BOOTTIME (ns): it changes only when the clock is set, not while the host sleeps."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def time_asleep() -> int:
    """BOOTTIME − MONOTONIC (ns): for how long the host was suspended since it is up."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()


def has_own_tmp() -> bool:
    """True if /tmp is this process's alone, as systemd makes one for PrivateTmp=; so nobody's files appear there."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            return any("/systemd-private-" in root and point == "/tmp" for root, point in map(_mounted, mounts))
    except OSError:
        return False


def _mounted(line: str) -> tuple[str, str]:
    root, point = line.split()[3:5]
    return root, point


def inotify() -> int:
    """A non-blocking inotify(7) descriptor."""
    return _checked("inotify_init1", _libc.inotify_init1(_TFD_NONBLOCK_CLOEXEC))


def watch(descriptor: int, path: str, mask: int) -> int:
    """Add a watch for `path` and return its number."""
    return _checked("inotify_add_watch", _libc.inotify_add_watch(descriptor, os.fsencode(path), mask))


def unwatch(descriptor: int, number: int) -> None:
    """Remove the watch of that number."""
    _checked("inotify_rm_watch", _libc.inotify_rm_watch(descriptor, number))


def inotify_events(descriptor: int, most: int = 1 << 20) -> Iterator[InotifyEvent]:
    """Read the events that are there now, without waiting; of a storm so many bytes, which by default are all that the
    kernel keeps (fs.inotify.max_queued_events).
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
