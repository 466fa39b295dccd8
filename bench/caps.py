"""What a run's own cgroup, and limits in it, cost at its start and its end.

It needs a cgroup that is delegated to it, as a system in a virtual machine has:

    tests/system/vm-run -- systemd-run --scope --property=Delegate=yes python3 -m bench caps
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import time
from pathlib import Path
from typing import Any

from bench.rig import Rig, daemon, wait_for
from jobqueued.child.processes import cgroup
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start import spawn
from jobqueued.child.start.caps import Caps
from jobqueued.core.records import record
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.model.commands import Launch
from jobqueued.model.job import Job
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.runs import launch_spec

_LIMITS: dict[str, Any] = {"memory": 1 << 30, "memory_high": 1 << 29, "swap": 0, "tasks": 100}
_WAYS: dict[str, dict[str, Any] | None] = {
    "without cgroup": None, "in one": {}, "with limits": _LIMITS, "with cpu, too": {**_LIMITS, "cpu": 1.5},
}  # fmt: skip
ROUNDS, STARTS, RUNS = 9, 100, 200


def caps() -> dict[str, Any]:
    """Milliseconds of a start of /bin/true, from its cgroup's making to its end, and of a whole run of the daemon's;
    each beside the same without, in turns.
    """
    home = cgroup.prepare()
    if home < 0:
        raise SystemExit(f"bench caps: no cgroup is delegated here\n{__doc__}")
    starts = {way: _Start(home, limits) for way, limits in _WAYS.items()}
    taken: dict[str, list[float]] = {way: [] for way in _WAYS}
    for _ in range(ROUNDS):
        for way, start in starts.items():
            taken[way].append(start.seconds() / STARTS * 1000)
    figures: dict[str, Any] = {f"start {way} (ms)": statistics.median(times) for way, times in taken.items()}
    for way in list(_WAYS)[1:]:
        ratios = [one / plain for one, plain in zip(taken[way], taken["without cgroup"], strict=True)]
        figures[f"start {way}: ratio"] = statistics.median(ratios)
    return {**figures, **_runs()}


class _Start:
    """One way to start it."""

    def __init__(self, home: int, limits: dict[str, Any] | None) -> None:
        job = Job(id="a", command=("/bin/true",), resource_limits=limits or {})
        run = Run(
            id=RunId("a", 1), key="x", due=0, queued=0, arrival=1, attempt=1, state=RunState.STARTING,
        )  # fmt: skip
        self._order = launch_spec.order(
            Launch(run, job, record.begin(run, job, HostLimits("host"))), Path("/none"), Path("/none")
        )
        self._home = home if limits is not None else -1
        self._output = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)

    def seconds(self) -> float:
        """Of STARTS of them."""
        begin = time.monotonic()
        for _ in range(STARTS):
            own = Cgroup(self._home, "bench@1.1")
            own.make()
            Caps(self._order, own).apply()
            os.waitpid(spawn.spawn(self._order, self._output, own).pid, 0)
            own.figures()
            own.remove()
        return time.monotonic() - begin


def _runs() -> dict[str, Any]:
    """The same through the daemon, one run after the other."""
    text = "defaults: {max_waiting: 1000}\njobs:\n" + "".join(
        f"  {job}: {{command: [/bin/true], resource_limits: {{{limits}}}}}\n"
        for job, limits in (("plain", ""), ("capped", "memory: 1G, memory_high: 512M, swap: 0, tasks: 100"))
    )
    taken: dict[str, list[float]] = {"plain": [], "capped": []}
    with daemon({"caps.yaml": text}) as rig:
        for _ in range(ROUNDS // 2 + 1):
            for job, times in taken.items():
                times.append(_carried_out(rig, job))
        enforced = _records(rig, "capped")[-1]
        assert set(json.loads(enforced.read_text())["enforced"].values()) == {"cgroup"}
    ratios = [capped / plain for capped, plain in zip(taken["capped"], taken["plain"], strict=True)]
    return {
        "run in one (ms)": statistics.median(taken["plain"]),
        "run with limits (ms)": statistics.median(taken["capped"]),
        "run with limits: ratio": statistics.median(ratios),
    }  # fmt: skip


def _carried_out(rig: Rig, job: str) -> float:
    """Milliseconds a run, from the question to the last record of RUNS, one after the other."""
    before, begin = len(_records(rig, job)), time.monotonic()
    call = json.dumps({"method": "io.jobqueue.Run", "parameters": {"job": job}}).encode() + b"\0"
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(rig.run / "control"))
        control.sendall(call * RUNS)
        answers = 0
        while answers < RUNS:
            answers += control.recv(1 << 16).count(b"\0")
    wait_for(lambda: len(_records(rig, job)) == before + RUNS, 120)
    return (time.monotonic() - begin) / RUNS * 1000


def _records(rig: Rig, job: str) -> list[Path]:
    return sorted((rig.directory / "logs" / job).glob("*.json"))
