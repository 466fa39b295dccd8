"""The daemon's processes, found as an administrator finds them: by name and arguments in /proc."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.support.host import lives

SCHEDULER, LAUNCHER, SUPERVISOR, NOTIFIER = "scheduler", "launcher", "supervisor", "notifier"
_NAMES = {"jq-launcher": LAUNCHER, "jq-supervisor": SUPERVISOR}


def small_ones() -> dict[int, str]:
    """The pids of launchers, supervisors and notifiers, and which they are.  In our own PID namespace all are ours."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            role = _NAMES.get(Path(f"/proc/{name}/comm").read_text().strip())
            if role is None and b"/notifier/main.py\0" in Path(f"/proc/{name}/cmdline").read_bytes():
                role = NOTIFIER
            if role is not None and lives(name):
                found[int(name)] = role
    return found


def busy(pid: int) -> bool:
    """Whether a supervisor has a child."""
    try:
        return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return False


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
