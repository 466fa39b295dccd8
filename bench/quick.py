"""The guard: what a change must not make worse, in less than a minute.  CPU time and memory are told beside a yardstick
of the same round, as the least of some rounds; the calls of functions are the same each time.

`python -m bench.quick` fails if a figure is above its bound: 1.3 times what it was when that was set.  Whoever makes
something cheaper sets it anew.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.rig import Rig, children_cpu, daemon, on_cpu, pss_kib, spawn_loop, wait_for
from bench.starts import CTL
from jobqueued.ctl.base.client import ask
from tests.simulation.life import Life, Terms
from tests.simulation.year import works

TOLERANCE = 1.3
ROUNDS = 5
_STARTS, _PAUSE = 3, 0.1
_RUNS, _FILES, _JOBS, _HOURS = 1000, 100, 10, 12
_PROGRAM = "/bin/true"


class Figure(NamedTuple):
    """What is measured, in units of its yardstick, and what it was when its bound was set."""

    text: str
    set_to: float


FIGURES = {
    "runs": Figure("1,000 runs at once: CPU of our processes, × that of a C loop with all that it starts", 5.0),
    "calls": Figure("a run that comes alone, in a simulated life: 1,000 calls of functions", 6.1),
    "load": Figure("start with 1,000 jobs in 100 files: CPU, × PyYAML's C loader over the same texts", 16.5),
    "status": Figure("jobqueuectl status: CPU, × a bare interpreter", 2.35),
    "idle": Figure("memory of all processes with 1,000 jobs, × a bare interpreter", 7.25),
}


def main() -> int:
    """Measure, and judge; the exit status."""
    least: dict[str, float] = {"calls": _calls()}
    for _ in range(ROUNDS):
        for name, figure in _round().items():
            least[name] = min(figure, least.get(name, figure))
    worse = [name for name, figure in least.items() if figure > TOLERANCE * FIGURES[name].set_to]
    for name, figure in least.items():
        bound = TOLERANCE * FIGURES[name].set_to
        print(f"{figure:6.2f}  at most {bound:6.2f}  {FIGURES[name].text}{'  WORSE' * (name in worse)}")
    return bool(worse)


def _round() -> dict[str, float]:
    spawned = _spawned()
    bare, memory = _bare()
    texts = {f"{number:03}.yaml": _jobs(number) for number in range(_FILES)}
    parsed = _cpu_of(lambda: [yaml.load(text, yaml.CSafeLoader) for text in texts.values()])
    with daemon(texts) as rig:
        used = on_cpu([rig.process.pid])
        idle = pss_kib(rig.pids(), "Pss_Anon:")
        status = min(_client(rig) for _ in range(_STARTS))
        runs = _cost(rig, partial(_hand_in, rig)) / _RUNS
    return {"runs": runs / spawned, "load": used / parsed, "status": status / bare, "idle": idle / memory}


def _jobs(number: int) -> str:
    line = '{command: [/bin/true, --quiet], schedule: "0 3 1 1 *", timezone: Europe/Berlin, timeout: 2h, tags: [a]}'
    return "jobs:\n" + "".join(f"  job-{number}-{index}: {line}\n" for index in range(_JOBS))


def _spawned() -> float:
    """Seconds of CPU that a C loop takes to start a process, with all that this does."""
    with tempfile.TemporaryDirectory() as folder:
        program = spawn_loop(Path(folder))
        return _cpu_of_children(lambda: subprocess.check_output([program, str(_RUNS), _PROGRAM])) / _RUNS


def _bare() -> tuple[float, int]:
    """The least that a client in Python costs: seconds of CPU, and KiB of memory."""
    command = [sys.executable, "-I", "-c", "import json, socket; print(flush=True); input()"]
    used = []
    for _ in range(_STARTS):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            memory = pss_kib([process.pid], "Pss_Anon:")
            used.append(_cpu_of_children(partial(process.communicate, b"\n")))
    return min(used), memory


def _client(rig: Rig) -> float:
    command = [sys.executable, "-I", "-c", CTL, "--run", str(rig.run), "status"]
    environment = {**os.environ, "JOBQUEUE_ROOT": str(rig.directory)}
    return _cpu_of_children(lambda: subprocess.check_output(command, env=environment))


def _hand_in(rig: Rig) -> None:
    """Run a program so many times, and wait for the last."""
    submission = {"keys": {"command": [_PROGRAM]}, "array": f"1-{_RUNS}"}
    job = ask(rig.run / "control", "Submit", submission=submission)["job"]
    last = rig.directory / "logs" / job.replace("/", "+") / f"{_RUNS}.json"
    wait_for(last.exists, 60)


def _calls() -> float:
    """Thousands of calls that scheduler, launcher and supervisor make for a run, each time the same."""
    count = itertools.count()
    threading.setprofile(lambda _frame, event, _value: next(count) if event in ("call", "c_call") else None)
    try:
        life = Life(1, Terms(hours=_HOURS, faults=0, people=0), [], works())
        life.live()
    finally:
        threading.setprofile(None)
    return next(count) / len(life.host.oracle.executions) / 1000


def _cost(rig: Rig, act: Callable[[], object]) -> float:
    """Seconds of CPU that our processes took until they were at rest again, without what they had started."""
    before = on_cpu(rig.pids())
    act()
    after, last = on_cpu(rig.pids()), before
    while after != last:
        time.sleep(_PAUSE)
        after, last = on_cpu(rig.pids()), after
    return after - before


def _cpu_of(act: Callable[[], object]) -> float:
    before = time.process_time()
    act()
    return time.process_time() - before


def _cpu_of_children(act: Callable[[], object]) -> float:
    before = children_cpu()
    act()
    return children_cpu() - before


if __name__ == "__main__":
    sys.exit(main())
