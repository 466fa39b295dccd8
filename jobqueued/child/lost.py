"""The lost: attempts whose supervisor is dead, from its death until nothing of them lives."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from jobqueued.child import hook, process, tree, wire
from jobqueued.child.cgroup import Cgroup
from jobqueued.child.documents import SLURM_HELPER

_LEFT = -1
"""In the place of a pid: the attempt has its record already."""


class Lost:
    """Those of one launcher, which inherits what they leave.  `runs`: the parent of all R; `home`: of their cgroups."""

    def __init__(self, runs: str, home: int) -> None:
        self._runs, self._home = runs, home
        self._mains: dict[str, tuple[int, int | None]] = {}
        self._on_slurm: set[str] = set()
        """Those whose process has a job on Slurm to end, and does so by SIGTERM."""

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self._mains)

    def __len__(self) -> int:
        """The number of those of which something may live."""
        return len(self._mains)

    def take(self, name: str) -> str:
        """Take in one that may have started; else the notice of how far it came."""
        main, status = 0, None
        with contextlib.suppress(OSError):  # recovered already, or a person removed it; or it can't be read
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
        """Take in one that has its record: what it left has nobody any more."""
        self._mains[name] = _LEFT, None

    def died(self, pid: int, status: int) -> None:
        """Note how a process of ours ended, which may be the main one of an attempt."""
        for name, (main, _none) in self._mains.items():
            if main == pid:
                self._mains[name] = main, None if name in self._on_slurm else status

    def end(self, supervisors: set[int]) -> list[str]:
        """Kill every child that is no supervisor, let helpers end; when none is left they are over: the notices."""
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
        return [self._told(name, status) for name, (main, status) in over.items() if main != _LEFT]

    def _is_helper(self, pid: int) -> bool:
        seen = process.stat(pid) if self._on_slurm else None
        return seen is not None and seen.name == SLURM_HELPER.encode()

    def _told(self, name: str, status: int | None) -> str:
        """R has it too, where there is room, for a scheduler that is not there to be told."""
        text = "-" if status is None else str(status)
        with contextlib.suppress(OSError):
            directory = wire.open_directory(f"{self._runs}/{name}")
            try:
                wire.write_mark(directory, wire.LOST, text.encode())
            finally:
                os.close(directory)
        return f"lost {name} {text}"
