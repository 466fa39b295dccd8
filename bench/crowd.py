"""Bursts of runs while other processes keep the CPUs busy: how many supervisors they have, and what these cost."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.flood import submit
from bench.rig import Rig, daemon, on_cpu, pss_kib, wait_for
from jobqueued.ctl.base.client import ask

LOADS, COUNT = (0, 4, 20, 40), 300
PROGRAMS = {
    "shell": "printf x >>{}",
    "python": "python3 -c pass; printf x >>{}",
    "asleep": "printf x >>{}; exec sleep 3",
}
"""Some 2 ms of CPU, some 20, and runs that wait for something else."""


def crowd() -> dict[str, Any]:
    """300 runs that are released at once, of each kind, beside so many loops that never end: seconds to the last start,
    supervisors, memory of all processes after it, and CPU time of supervisors and launcher for a run.
    """
    return {f"{name}_{load}": _burst(load, line) for name, line in PROGRAMS.items() for load in LOADS}


def _burst(load: int, line: str) -> dict[str, float]:
    with daemon({}, "users: {waiting: 20000, calls: 1000000}\n") as rig:
        control, ledger = rig.run / "control", rig.directory / "ledger"
        ledger.touch()
        ask(control, "Hold")
        submit(control, COUNT, ["/bin/sh", "-c", line.format(ledger)])
        with _busy(load):
            begin = time.monotonic()
            ask(control, "Release", 120)
            wait_for(lambda: ledger.stat().st_size == COUNT, 300)
            took = time.monotonic() - begin
        figures = {"seconds": took, **_figures(rig)}
        wait_for(lambda: not ask(control, "Submissions", 120)["submissions"], 300)
        return figures


def _figures(rig: Rig) -> dict[str, float]:
    scheduler, launcher, *supervisors = rig.pids()
    return {
        "supervisors": len(supervisors),
        "pss_mib": pss_kib([scheduler, launcher, *supervisors]) / 1024,
        "supervisor_ms_a_run": on_cpu(supervisors) / COUNT * 1000,
        "launcher_ms_a_run": on_cpu([launcher]) / COUNT * 1000,
    }


@contextlib.contextmanager
def _busy(processes: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
