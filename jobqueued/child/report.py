"""What a supervisor writes of an attempt: instants, the verdict, the figures, the record file."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from typing import Any

_COUNTS = ("ru_maxrss", "ru_minflt", "ru_majflt", "ru_inblock", "ru_oublock", "ru_nvcsw", "ru_nivcsw")
_LIMIT_OF: dict[int, str] = {signal.SIGXCPU: "cpu_time", signal.SIGXFSZ: "file_size"}


def stamp(instant: int) -> str:
    """An instant as RFC 3339 UTC with microseconds."""
    seconds, rest = divmod(instant, 1_000_000_000)
    t = time.gmtime(seconds)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}.{rest // 1000:06}Z"


def end(status: int, usage: resource.struct_rusage) -> dict[str, Any]:
    """How the main process ended and what it used: its wait status and rusage, exactly."""
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit_code": code if code >= 0 else None, "signal": -code if code < 0 else None,
        "rusage": {name[3:]: getattr(usage, name) for name in _COUNTS},
    }  # fmt: skip


def failure(status: int, limits: dict[str, Any]) -> str:
    """Why a process that ended with this wait status failed: ``signal 11 (SIGSEGV, core dumped)``."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    core = ", core dumped" if os.WCOREDUMP(status) else ""
    text = f"signal {-code} ({_signal_name(-code)}{core})"
    used_up = [key for key, _, _ in limits.values() if key == _LIMIT_OF.get(-code)]
    return f"{text}: its {used_up[0]} is used up" if used_up else text


def signal_number(name: str) -> int:
    """Of ``SIGTERM`` or ``SIGRTMIN+3``."""
    base, _, offset = name.partition("+")
    return int(getattr(signal, base)) + int(offset or 0)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def largest(processes: list[resource.struct_rusage]) -> tuple[int | None, int]:
    """The peak of the largest process, and that of this one, in bytes.

    It starts from ours, so where it did not exceed that nothing else is known (None).
    """
    peak, floor = max(usage.ru_maxrss for usage in processes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024 if peak > floor else None, floor * 1024


def replace(path: str, data: bytes) -> None:
    """A file of this content, by rename: a reader sees the old one or the new one, whole."""
    temporary = f"{path}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o640)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
        descriptor = os.open(temporary, flags, 0o640)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
