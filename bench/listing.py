"""What `jobqueuectl list` costs with many jobs: beside its start, and beside reading the daemon's answer as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.memory import quiet
from bench.rig import ROOT, cpu_seconds, daemon
from jobqueued.ctl.base.client import ask

JOBS = 20_000
ROUNDS = 3


def listing() -> dict[str, Any]:
    """CPU seconds of the client, for a pipe and for 80 columns of a terminal's width; `ratio`: above its start.

    `daemon_s`: those of the daemon for the first answer after a change; while nothing changes others get the same text.
    """
    files = {
        f"{file:02}.yaml": "jobs:\n" + "".join(
            f"  job-{file:02}-{number:03}: {{command: 'true', schedule: '0 3 1 1 *', description: of a benchmark}}\n"
            for number in range(1000)
        )
        for file in range(JOBS // 1000)
    }  # fmt: skip
    with daemon(files) as rig:
        control = rig.run / "control"
        quiet(rig)
        ask(control, "Pause", job="job-00-000")
        used = cpu_seconds([rig.process.pid])
        answer = json.dumps(ask(control, "List"))
        used = cpu_seconds([rig.process.pid]) - used
        begun = time.monotonic()
        whole = _client_seconds(control.parent, "list")
        waited = (time.monotonic() - begun) / ROUNDS
        narrow = _client_seconds(control.parent, "list", COLUMNS="80")
        start = _client_seconds(control.parent, "--version")
    loads = min(_loads_seconds(answer) for _ in range(ROUNDS))
    return {
        "jobs": JOBS, "list_s": whole, "list_of_80_columns_s": narrow, "start_s": start, "json_loads_s": loads,
        "daemon_s": used, "elapsed_s": waited, "ratio": (whole - start) / loads,
    }  # fmt: skip


def _client_seconds(run: Path, *words: str, **more: str) -> float:
    """CPU seconds of one call of the client, the least of some."""
    return min(_once([sys.executable, "-m", "jobqueued.ctl", "--run", str(run), *words], more) for _ in range(ROUNDS))


def _once(command: list[str], more: dict[str, str]) -> float:
    before = os.times()
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | more, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _loads_seconds(text: str) -> float:
    begin = time.process_time()
    json.loads(text)
    return time.process_time() - begin
