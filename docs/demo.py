#!/usr/bin/env python3
"""A demonstration: a real daemon, real processes, and a queue in which `jobqueuectl why` foretells the order.

    python docs/demo.py [--quick]

First each job runs once, so that it is known how long it takes.  Then all are asked for at once: two that want the same
lock, one that wants to be alone on the host, one of low priority that ages fast, and a chain of two.  What `why` says
of those that wait is printed, and beside it what happened.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jobqueued.ctl.client import ask

SETTINGS = "max_running: 2\n"
JOBS = """\
jobs:
  dump:  {{command: sleep {0}, locks: [database], description: holds the lock of the database}}
  index: {{command: sleep {0}, locks: [database], description: wants it too}}
  check: {{command: sleep {0}, exclusive: true, priority: 5, description: wants to be alone}}
  old:   {{command: sleep {0}, priority: -50, escalation: {{points: 1000, every: 1s}}, description: low and ages fast}}
  fetch: {{command: sleep {0}, priority: 9, description: the first of a chain}}
  load:  {{command: sleep {0}, dependencies: [fetch], description: the second of the chain}}
"""
ASKED = ["dump", "index", "check", "old", "fetch"]


def main() -> int:
    """Show it; 1 if `why` was wrong."""
    second = "0.3" if "--quick" in sys.argv else "1"
    with tempfile.TemporaryDirectory() as folder, daemon(Path(folder), JOBS.format(second)) as host:
        print("Each job once, to learn how long it takes …")
        for name in ASKED:
            ctl(host, "run", "--wait", name)
        wait_for(host, "load@1")
        print("All at once:\n")
        runs = [str(ask(host / "run" / "control", "Run", job=name)["run"]) for name in ASKED]
        foretold = foretell(host, runs)
        for name in [*ASKED, "load"]:
            wait_for(host, f"{name}@2")
        return compare(host, foretold, runs)


def foretell(host: Path, runs: list[str]) -> list[str]:
    """What `why` says of each that waits; and the order in which it expects them to start, the live ones first."""
    expected = {}
    for run in runs:
        told = ask(host / "run" / "control", "Why", run=run)["why"]
        expected[run] = told["expected"] or ""
        if told["reasons"]:
            print(f"{run}: {told['state']}")
            print("".join(f"    {reason}\n" for reason in told["reasons"]), end="")
    return sorted(runs, key=lambda run: (expected[run], runs.index(run)))


def compare(host: Path, foretold: list[str], runs: list[str]) -> int:
    """Print both orders."""
    started = {run: json.loads(ctl(host, "show", run, "--json"))["started"] for run in [*runs, "load@2"]}
    happened = sorted(runs, key=lambda run: started[run])
    print(f"\nforetold: {', '.join(foretold)}\nhappened: {', '.join(happened)}")
    print(f"and load@2 when fetch@2 had succeeded: {started['fetch@2'] < started['load@2']}")
    return foretold != happened or started["fetch@2"] >= started["load@2"]


def wait_for(host: Path, run: str) -> None:
    """Until a run has ended; it may not be there yet."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        done = subprocess.run(command(host, "show", run, "--json"), capture_output=True, text=True, check=False)
        if done.returncode == 0 and json.loads(done.stdout)["ended"]:
            return
        time.sleep(0.05)
    raise SystemExit(f"{run} did not end")


def ctl(host: Path, *arguments: str) -> str:
    """What jobqueuectl prints."""
    return subprocess.run(command(host, *arguments), capture_output=True, text=True, check=True).stdout


def command(host: Path, *arguments: str) -> list[str]:
    """jobqueuectl, asking our daemon."""
    return [sys.executable, "-m", "jobqueued.ctl", "--root", str(host), *arguments]


@contextlib.contextmanager
def daemon(host: Path, jobs: str) -> Iterator[Path]:
    """A daemon of our own, which ends with us."""
    (host / "jobqueue.d").mkdir()
    (host / "jobqueue.d" / "demo.yaml").write_text(jobs)
    (host / "jobqueued.yaml").write_text(SETTINGS)
    process = subprocess.Popen([sys.executable, "-m", "jobqueued", "--root", str(host)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while (told := subprocess.run(command(host, "status"), capture_output=True, text=True, check=False)).returncode:
            if time.monotonic() > until:
                raise SystemExit(f"the daemon is not well:\n{told.stdout}{told.stderr}")
            time.sleep(0.05)
        yield host
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
