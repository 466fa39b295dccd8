"""Linux calls that Python 3.11 does not wrap (timerfd), and offsets between the kernel's clocks.

Every function raises OSError with the name of the failed call; constants have their names from the manual pages.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import time

_libc = ctypes.CDLL(None, use_errno=True)

_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
_CLOCK_REALTIME = 0
_ITIMERSPEC = struct.Struct("@llll")
"""struct itimerspec: interval and value, each in seconds and nanoseconds."""


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def realtime_timer() -> int:
    """Return an unarmed CLOCK_REALTIME timerfd(2)."""
    return _checked("timerfd_create", _libc.timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK_CLOEXEC))


def arm(timer: int, instant: int) -> bool:
    """Arm the timer for an absolute instant (ns). If the clock is set afterwards, read(2) of the timer fails with
    ECANCELED.

    Return False if the clock was set since the last call. The kernel reports this only once; the caller must then rearm
    the timer.
    """
    spec = _ITIMERSPEC.pack(0, 0, *divmod(instant, 1_000_000_000))
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    failed = _libc.timerfd_settime(timer, flags, spec, None)
    if failed and ctypes.get_errno() == errno.ECANCELED:
        return False
    _checked("timerfd_settime", failed)
    return True


def realtime_offset() -> int:
    """Return REALTIME − BOOTTIME (ns), which changes only when the clock is set, not while the host sleeps."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def time_asleep() -> int:
    """Return BOOTTIME − MONOTONIC (ns): the total time that the host was suspended since its boot."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()


def has_just_booted() -> bool:
    """Return whether the host booted less than ten minutes ago; a daemon that starts later was probably not started by
    the boot.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) < 600


def has_own_tmp() -> bool:
    """Return whether this process has a private /tmp (systemd's PrivateTmp=), where users' files do not appear."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            return any("/systemd-private-" in root and point == "/tmp" for root, point in map(_mounted, mounts))
    except OSError:
        return False


def _mounted(line: str) -> tuple[str, str]:
    root, point = line.split()[3:5]
    return root, point


def give_back_memory() -> None:
    """Return malloc(3)'s unused memory to the kernel; do nothing if the libc has no malloc_trim(3)."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
