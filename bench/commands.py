"""How soon each command of jobqueuectl is there: what its start costs, beside a bare interpreter's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.memory import quiet
from bench.rig import ROOT, children_cpu, daemon
from jobqueued.ctl.main import main

TARGET = 0.15
ROUNDS = 5
_INPUT = b"0 3 * * * true\n"
"""A crontab, for those who read their standard input."""
READING = (
    "status", "list", "show a-00", "history", "history --stats", "report", "next a-00", "why a-00", "audit", "locks",
    "notify", "metrics", "files", "doctor", "timeline", "top --once", "check a.yaml", "cat a.yaml",
    "simulate --for 1h --draws 1", "import --kind user -",
)  # fmt: skip
"""Commands that ask a daemon which has 100 jobs and no history, or read as many."""


def commands() -> dict[str, Any]:
    """CPU seconds, the least of some rounds: of what reads, and of `--help` of each other command, which imports its
    file; with bytecode, as it is installed.

    `ratio`: the dearest beside a bare interpreter.  `slow`: those above 0.15 s.
    """
    text = "jobs:\n" + "".join(f'  a-{number:02}: {{command: "true", every: 1h}}\n' for number in range(100))
    read = {words.split()[0] for words in READING}
    calls = [*READING, *(f"{name} --help" for name in main.commands if name not in read)]
    with daemon({"a.yaml": text}) as rig, tempfile.TemporaryDirectory() as bytecode:
        quiet(rig)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        options = ["--root", str(rig.directory), "--run", str(rig.run)]
        program, directory = [sys.executable, "-m", "jobqueued.ctl", *options], rig.directory / "jobqueue.d"
        bare, seconds = float("inf"), dict[str, float]()
        for words in calls:
            bare = min(bare, _least([sys.executable, "-c", ""], directory, environment))
            seconds[words] = _least([*program, *words.split()], directory, environment)
    return {
        "bare_s": bare, "command_s": dict(sorted(seconds.items())), "ratio": max(seconds.values()) / bare,
        "slow": sorted(words for words, used in seconds.items() if used > TARGET),
    }  # fmt: skip


def _least(command: list[str], directory: Path, environment: dict[str, str]) -> float:
    return min(_once(command, directory, environment) for _ in range(ROUNDS))


def _once(command: list[str], directory: Path, environment: dict[str, str]) -> float:
    before = children_cpu()
    done = subprocess.run(command, cwd=directory, env=environment, input=_INPUT, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}")
    return children_cpu() - before
