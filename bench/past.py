"""How soon `jobqueuectl why RUN --at T` has its answer, for instants all over a history that is kept."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.history import keep
from bench.memory import quiet
from bench.rig import ROOT, children_cpu, daemon
from jobqueued.base.instants import MINUTE, SECOND, to_text
from jobqueued.ctl.base.client import ask

TARGET = 0.1
JOBS, PAST, QUESTIONS = 100, 500, 200


def past() -> dict[str, Any]:
    """Seconds until the daemon has answered, of 50,000 runs that are kept (median, longest); CPU seconds of the whole
    command, and of its start.  `slow`: the answers that took more than 0.1 s.
    """
    chance, now = random.Random(1), time.time_ns()
    dues = [now - back * MINUTE for back in range(PAST, 0, -1)]
    jobs = "".join(f"  job-{number:03}: {{command: 'true', schedule: '* * * * *'}}\n" for number in range(JOBS))
    with daemon({"a.yaml": f"jobs:\n{jobs}"}, f"retention: {{runs: {2 * PAST}}}\n", _with(dues, chance)) as rig:
        control = rig.run / "control"
        ask(control, "Hold")
        quiet(rig)
        waits = []
        for _ in range(QUESTIONS):
            nth = chance.randrange(PAST)
            run, at = f"job-{chance.randrange(JOBS):03}@{nth + 1}", dues[nth] + chance.randrange(60) * SECOND
            begin = time.monotonic()
            ask(control, "Why", run=run, at=to_text(at))
            waits.append(time.monotonic() - begin)
        words = ["--root", str(rig.directory), "--run", str(rig.run), "why"]
        whole = min(_once([*words, "job-007@9", "--at", to_text(dues[8] + SECOND)]) for _ in range(5))
        start = min(_once([*words, "--help"]) for _ in range(5))
    return {
        "kept_runs": JOBS * PAST, "median_s": statistics.median(waits), "longest_s": max(waits),
        "slow": sum(wait > TARGET for wait in waits), "command_cpu_s": whole, "start_cpu_s": start,
    }  # fmt: skip


def _with(dues: list[int], chance: random.Random) -> Any:
    def made(directory: Path) -> None:
        for number in range(JOBS):
            keep(directory / "logs", f"job-{number:03}", dues, chance)

    return made


def _once(words: list[str]) -> float:
    before = children_cpu()
    command = [sys.executable, "-m", "jobqueued.ctl", *words]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return children_cpu() - before
