"""Tracks attempts whose supervisor died until all their processes have ended."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import SLURM_HELPER
from jobqueued.child.hooks import hook
from jobqueued.child.processes import process, tree
from jobqueued.child.processes.cgroup import Cgroup

_LEFT = -1
"""Placeholder for a PID if the attempt already has its record."""


class AdoptedAttempts:
    """Attempts without a supervisor, whose processes the launcher inherited. `runs`: parent of R.

    `home`: place of cgroups.
    """

    def __init__(self, runs: str, home: int) -> None:
        self._runs, self._home = runs, home
        self._mains: dict[str, tuple[int, int | None]] = {}
        self._on_slurm: set[str] = set()
        """Names of attempts on Slurm. Their local process ends the Slurm job when it gets SIGTERM."""

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the attempts."""
        return iter(self._mains)

    def __len__(self) -> int:
        """Return the number of attempts that may have live processes."""
        return len(self._mains)

    def take(self, name: str) -> str:
        """Add an attempt that may have live processes, and return "".

        If no process can be alive, return the notice `ended` or `unstarted` instead.
        """
        main, status = 0, None
        with contextlib.suppress(OSError):  # R was recovered earlier, removed by a user, or is unreadable
            directory = wire.open_directory(f"{self._runs}/{name}")
            try:
                if wire.read_whole(directory, wire.ENDED) is not None:
                    return f"ended {name}"
                if not wire.may_have_started(directory):
                    return f"unstarted {name} supervisor died"
                mark = wire.PidMark.parse(wire.read_mark(directory, wire.PID) or b"")
                main = 0 if mark is None else mark.pid
                order = wire.read_spec(directory)
                if order is not None and order.get("slurm"):
                    self._on_slurm.add(name)
                status = wire.parse_status((wire.read_mark(directory, wire.LOST) or b"").decode(errors="replace"))
            finally:
                os.close(directory)
        self._mains[name] = main, status
        return ""

    def take_left(self, name: str) -> None:
        """Add an attempt that already has its record, but has processes without a supervisor."""
        self._mains[name] = _LEFT, None

    def died(self, pid: int, status: int) -> None:
        """Record the end of a child, which may be an attempt's main process."""
        for name, (main, _none) in self._mains.items():
            if main == pid:
                self._mains[name] = main, None if name in self._on_slurm else status

    def end(self, supervisors: set[int]) -> list[str]:
        """Kill all children except supervisors; Slurm helpers get SIGTERM.

        Once only supervisors are left, return the attempts' notices.
        """
        if not self._mains:
            return []
        strays = [pid for pid in tree.children() if pid not in supervisors]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if self._is_helper(pid) else signal.SIGKILL)
        for name in self._mains:
            for each in (name, name + hook.CGROUP):
                Cgroup.find(self._home, each).remove(0)
        if strays:
            return []
        over, self._mains = self._mains, {}
        self._on_slurm.clear()
        return [self._lost_notice(name, status) for name, (main, status) in over.items() if main != _LEFT]

    def _is_helper(self, pid: int) -> bool:
        seen = process.stat(pid) if self._on_slurm else None
        return seen is not None and seen.name == SLURM_HELPER.encode()

    def _lost_notice(self, name: str, status: int | None) -> str:
        """Return the notice `lost`. Also write R/lost if possible, in case no scheduler is connected."""
        text = "-" if status is None else str(status)
        with contextlib.suppress(OSError):
            directory = wire.open_directory(f"{self._runs}/{name}")
            try:
                wire.write_mark(directory, wire.LOST, text.encode())
            finally:
                os.close(directory)
        return f"lost {name} {text}"
