#!/usr/bin/env python3
"""A demonstration: a real daemon, real processes, and a queue in which `jobqueuectl why` foretells the order.

    python docs/demo.py [--quick]

First each job runs once, so that it is known how long it takes.  Then all are asked for at once: two that want the same
lock, one that wants to be alone on the host, one of low priority that ages fast, and a chain of two.  What `why` says
of those that wait is printed, and beside it what happened.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, ask

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
            ended(host, asked(host, "Run", job=name)["run"])
        ended(host, "load@1")
        print("All at once:\n")
        runs = [str(asked(host, "Run", job=name)["run"]) for name in ASKED]
        expected = foretell(host, runs)
        for name in [*ASKED, "load"]:
            ended(host, f"{name}@2")
        return compare(host, expected, runs)


def foretell(host: Path, runs: list[str]) -> dict[str, str]:
    """Print what `why` says of each run that waits.  Return when it expects each to start: "" if it has started."""
    expected = {}
    for run in runs:
        told = asked(host, "Why", run=run)["why"]
        expected[run] = told.get("expected") or ""
        if told.get("reasons"):
            print(f"{run}: {told['state']}")
            print("".join(f"    {reason}\n" for reason in told["reasons"]), end="")
    return expected


def compare(host: Path, expected: dict[str, str], runs: list[str]) -> int:
    """Print both orders; 1 if they differ."""
    started = {run: asked(host, "Show", run=run)["record"]["started"] for run in [*runs, "load@2"]}
    happened = sorted(runs, key=lambda run: started[run])
    foretold = sorted(runs, key=lambda run: (expected[run], started[run]))
    print(f"\nforetold: {', '.join(foretold)}\nhappened: {', '.join(happened)}")
    print(f"and load@2 when fetch@2 had succeeded: {started['fetch@2'] < started['load@2']}")
    return foretold != happened or started["fetch@2"] >= started["load@2"]


def ended(host: Path, run: str) -> None:
    """Wait until a run has ended; it may not be there yet."""
    until_it_works(lambda: asked(host, "Show", run=run))
    asked(host, "Wait", run=run)


def asked(host: Path, method: str, **parameters: object) -> dict[str, Any]:
    """The answer of our daemon."""
    return ask(host / "run" / "control", method, 60, **parameters)


def until_it_works(call: Callable[[], object]) -> None:
    """Call until the answer is no refusal."""
    until = time.monotonic() + 30
    while True:
        try:
            call()
            return
        except (CallRefused, DaemonUnreachable) as refusal:
            if time.monotonic() > until:
                raise SystemExit(refusal.message) from None
            time.sleep(0.05)


@contextlib.contextmanager
def daemon(host: Path, jobs: str) -> Iterator[Path]:
    """A daemon of our own, which ends with us."""
    (host / "jobqueue.d").mkdir()
    (host / "jobqueue.d" / "demo.yaml").write_text(jobs)
    (host / "jobqueued.yaml").write_text(SETTINGS)
    process = subprocess.Popen([sys.executable, "-m", "jobqueued", "--root", str(host)], stderr=subprocess.DEVNULL)
    try:
        until_it_works(lambda: asked(host, "Status"))
        yield host
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
