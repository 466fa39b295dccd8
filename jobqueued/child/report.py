"""What a supervisor writes of an attempt: instants, the verdict, the figures, the record file."""

from __future__ import annotations

import os
import resource
import signal
from typing import Any

from jobqueued.child.signals import signal_name

_COUNTS = ("ru_maxrss", "ru_minflt", "ru_majflt", "ru_inblock", "ru_oublock", "ru_nvcsw", "ru_nivcsw")
_LIMIT_OF: dict[int, str] = {signal.SIGXCPU: "cpu_time", signal.SIGXFSZ: "file_size"}


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
    text = f"signal {-code} ({signal_name(-code)}{core})"
    used_up = [key for key, _, _ in limits.values() if key == _LIMIT_OF.get(-code)]
    return f"{text}: its {used_up[0]} is used up" if used_up else text


def largest(processes: list[resource.struct_rusage]) -> tuple[int | None, int]:
    """The peak of the largest process, and that of this one, in bytes.

    It starts from ours, so where it did not exceed that nothing else is known (None).
    """
    peak, floor = max(usage.ru_maxrss for usage in processes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024 if peak > floor else None, floor * 1024
