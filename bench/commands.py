"""How soon each command of jobqueuectl is there: what its start costs, beside a bare interpreter's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.memory import quiet
from bench.rig import ROOT, children_cpu, daemon
from jobqueued.ctl.main import main

TARGET = 0.15
ROUNDS = 5
READING = (
    "status", "list", "show a-00", "history", "history --stats", "report", "next a-00", "why a-00", "audit", "locks",
    "notify", "metrics", "files", "doctor", "timeline", "top --once", "check a.yaml", "cat a.yaml",
    "simulate --for 1h --draws 1",
)  # fmt: skip
"""Commands that ask a daemon which has 100 jobs and no history, or read as many."""


def commands() -> dict[str, Any]:
    """CPU seconds, the least of some rounds: of `--help` of each command, which imports its file, and of what reads.

    `ratio`: the dearest start beside a bare interpreter's.  `slow`: what is above 0.15 s.
    """
    bare = _least([sys.executable, "-c", ""], ROOT)
    program = [sys.executable, "-m", "jobqueued.ctl"]
    help_of = {name: _least([*program, name, "--help"], ROOT) for name in main.commands}
    text = "jobs:\n" + "".join(f'  a-{number:02}: {{command: "true", every: 1h}}\n' for number in range(100))
    with daemon({"a.yaml": text}) as rig:
        quiet(rig)
        asked = [*program, "--root", str(rig.directory), "--run", str(rig.run)]
        told = {words: _least([*asked, *words.split()], rig.directory / "jobqueue.d") for words in READING}
    slow = {name: seconds for name, seconds in {**help_of, **told}.items() if seconds > TARGET}
    return {
        "bare_s": bare, "help_s": help_of, "reading_s": told, "slow": slow, "ratio": max(help_of.values()) / bare,
    }  # fmt: skip


def _least(command: list[str], directory: Path) -> float:
    return min(_once(command, directory) for _ in range(ROUNDS))


def _once(command: list[str], directory: Path) -> float:
    before = children_cpu()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}")
    return children_cpu() - before
