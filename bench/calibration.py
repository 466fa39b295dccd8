"""How true `jobqueuectl simulate` is of real runs: minutes are lived, and the second half foreseen from the first."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.rig import ROOT, daemon, wait_for
from jobqueued.ctl.base.client import ask

MINUTES = 6
JOBS, LOCKS, SLOTS = 40, 4, 6


def calibration() -> dict[str, Any]:
    """Starts compared, and the part of them within their bands of 95 %; `steady`: those whose band is at most 5 s wide,
    with the median of their errors in seconds.

    40 jobs with periods of 10 to 40 s run for 0.2 to 6 s, each time otherwise; two of three share one of four locks,
    and six may be live.
    """
    with daemon({"a.yaml": _jobs(random.Random(1))}, f"max_running: {SLOTS}\n") as rig:
        time.sleep(MINUTES * 60)
        asked = [sys.executable, "-m", "jobqueued.ctl", "--root", str(rig.directory), "--run", str(rig.run)]
        middle = datetime.now(UTC) - timedelta(minutes=MINUTES / 2)
        words = ["simulate", "--json", "--backtest", middle.isoformat(), "--for", f"{MINUTES * 30}s"]
        done = subprocess.run([*asked, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        ask(rig.run / "control", "Hold")
        wait_for(lambda: ask(rig.run / "control", "Status")["running"] == 0, 60)
    found = json.loads(done.stdout)
    return {
        "compared": found["compared"], "ratio": found["inside"] / found["compared"], "error_s": found["error"],
        "steady": found["steady"], "steady_error_s": found["steady_error"], "as_promised": done.returncode == 0,
    }  # fmt: skip


def _jobs(chance: random.Random) -> str:
    lines = ["defaults: {overlap: queue}", "jobs:"]
    for number in range(JOBS):
        least = chance.randint(200, 1500)
        most = round(least * chance.choice((1.05, 2, 4)))
        command = f"exec sleep $(shuf -i {least}-{most} -n 1)e-3"
        lock = f", locks: [lock-{number % LOCKS}]" if number % 3 else ""
        lines.append(f"  job-{number:02}: {{every: {chance.randint(10, 40)}s, command: {json.dumps(command)}{lock}}}")
    return "\n".join(lines) + "\n"
