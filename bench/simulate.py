"""How long `jobqueuectl simulate` takes for 1,000 jobs with a history: a week drawn five times, a month drawn once."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.history import keep
from bench.rig import ROOT, children_cpu
from jobqueued.base.instants import DAY, SECOND

JOBS, PAST, LOCKS = 1000, 20, 100


def week() -> dict[str, Any]:
    """120,000 runs, five times."""
    return _simulated(7, 5, 120_000)


def month() -> dict[str, Any]:
    """A million runs."""
    return _simulated(30, 1, 1_000_000)


def _simulated(days: int, draws: int, runs: int) -> dict[str, Any]:
    """Elapsed seconds, CPU time of all processors and for each run, and the memory of the largest process.

    Each job has records of 20 runs that took 2 to 60 s, and every tenth one a lock that it shares with others.
    """
    period = days * DAY * JOBS // runs // SECOND
    with tempfile.TemporaryDirectory(prefix="jobqueued-bench-", dir="/var/tmp") as name:
        root, chance, now = Path(name), random.Random(1), time.time_ns()
        (root / "jobqueue.d").mkdir()
        (root / "jobqueue.d" / "a.yaml").write_text("jobs:\n" + "".join(
            f"  job-{number:04}: {{command: 'true', every: {period}s{_lock(number)}}}\n" for number in range(JOBS)
        ))  # fmt: skip
        for number in range(JOBS):
            keep(
                root / "logs", f"job-{number:04}", [now - back * period * SECOND for back in range(PAST, 0, -1)], chance
            )
        asked = [sys.executable, "-m", "jobqueued.ctl", "--root", name, "simulate", "--json"]
        begin, used = time.monotonic(), children_cpu()
        done = subprocess.run(
            [*asked, "--for", f"{days}d", "--draws", str(draws)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        elapsed, used = time.monotonic() - begin, children_cpu() - used
    found = json.loads(done.stdout)["runs"]
    return {
        "jobs": JOBS, "days": days, "draws": draws, "runs": found[-1], "elapsed_s": elapsed, "cpu_s": used,
        "cpu_us_a_run": used * 1e6 / (sum(found) / 2 * draws),
        "largest_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }  # fmt: skip


def _lock(number: int) -> str:
    return f", locks: [lock-{number % LOCKS}]" if number % 10 == 0 else ""
