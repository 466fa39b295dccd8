"""Attributes of a process that a job's keys set: CPUs, nice value, scheduling, I/O priority, OOM killer."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_IOPRIO_SET = {"x86_64": 251, "i686": 289, "aarch64": 30, "armv7l": 314, "riscv64": 30, "ppc64le": 273, "s390x": 282}
_IOPRIO_CLASSES = {"realtime": 1, "best-effort": 2, "idle": 3}
_POLICIES = {
    "other": os.SCHED_OTHER,
    "batch": os.SCHED_BATCH,
    "idle": os.SCHED_IDLE,
    "fifo": os.SCHED_FIFO,
    "rr": os.SCHED_RR,
}


def _nice(value: int) -> None:
    """Set the nice value of the process and its session.

    If the kernel schedules by session, the process's value matters little.
    """
    os.setpriority(os.PRIO_PROCESS, 0, value)
    _write("/proc/self/autogroup", value, optional=True)


def _write(path: str, value: int, *, optional: bool = False) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, b"%d" % value)
        os.close(descriptor)
    except OSError:
        if not optional:
            raise


def _ionice(text: str) -> None:
    """Set the I/O priority with ioprio_set(2), which the C library does not wrap."""
    name, _, level = text.partition(":")
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"jobqueued does not support ioprio_set(2) on {os.uname().machine}")
    if _LIBC.syscall(number, 1, 0, _IOPRIO_CLASSES[name] << 13 | int(level or 0)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _schedule(text: str) -> None:
    policy, _, priority = text.partition(":")
    os.sched_setscheduler(0, _POLICIES[policy], os.sched_param(int(priority or 0)))


ATTRIBUTES: tuple[tuple[str, Callable[[Any], None]], ...] = (
    ("cpus", lambda cpus: os.sched_setaffinity(0, cpus)),
    ("nice", _nice),
    ("cpu_scheduling", _schedule),
    ("ionice", _ionice),
    ("oom_score_adj", lambda value: _write("/proc/self/oom_score_adj", value)),
)


def forgo_oom_protection() -> None:
    """Remove the OOM killer protection that our parent set, because jobs must not have it."""
    with open("/proc/self/oom_score_adj") as file:
        spared = int(file.read()) < 0
    if spared:
        _write("/proc/self/oom_score_adj", 0)
