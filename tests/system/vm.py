"""What the tests in the virtual machine share: an installed jobqueued, and what it, systemd and journald say."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

JOBS, STATE, LOGS = Path("/etc/jobqueue.d"), Path("/var/lib/jobqueue"), Path("/var/log/jobqueue")
DEADLINE = 30.0
T = TypeVar("T")


def sh(*command: str) -> str:
    """The command's stdout; a failure shows what it said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def until(what: str, condition: Callable[[], T]) -> T:
    """Wait for a condition, and return what it found."""
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {DEADLINE:g} s: {what}"
        time.sleep(0.05)
    return found


def ctl(*arguments: str) -> Any:
    return json.loads(sh("jobqueuectl", *arguments, "--json"))


def start(file: str) -> None:
    """Start the daemon afresh, without history, on this one job file.  Runs of each module count from 1, so the ids of
    its jobs are to be its own: the journal keeps the lines of all.
    """
    sh("systemctl", "stop", "jobqueued", "jobqueued-launcher.socket")
    for directory in (JOBS, STATE, LOGS):
        sh("find", str(directory), "-mindepth", "1", "-delete")
    (JOBS / "test.yaml").write_text(file)
    sh("systemctl", "start", "jobqueued")


def jobs() -> Any:
    return ctl("list")["jobs"]


def status() -> Any:
    """What the daemon says of itself; its exit code says whether a file is refused."""
    command = ["jobqueuectl", "status", "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout)


def state(unit: str, name: str) -> str:
    return sh("systemctl", "show", f"--property={name}", "--value", unit).strip()


def kill_main(signal: str, unit: str) -> None:
    """Send a deadly signal to the unit's main process, and wait until systemd has started it again."""
    before = int(state(unit, "MainPID"))
    sh("systemctl", "kill", "--kill-whom=main", "-s", signal, unit)
    until(f"a new process of {unit}", lambda: int(state(unit, "MainPID")) not in (0, before))
    until("it is ready", lambda: state(unit, "SubState") == "running")


def journal(*matches: str) -> list[dict[str, str]]:
    sh("journalctl", "--sync")
    return [json.loads(line) for line in sh("journalctl", "-u", "jobqueued", "-o", "json", *matches).splitlines()]


def story(run: str, *matches: str) -> list[dict[str, str]]:
    """The daemon's own lines about a run."""
    return journal("SYSLOG_IDENTIFIER=jobqueued", f"JOBQUEUE_RUN={run}", *matches)


def events(run: str) -> list[str]:
    return [entry["JOBQUEUE_EVENT"] for entry in story(run)]


def record_file(run: str) -> Any:
    file = LOGS / f"{run.replace('@', '/')}.json"
    return json.loads(file.read_bytes()) if file.exists() else None


def output(run: str) -> str:
    return (LOGS / f"{run.replace('@', '/')}.log").read_text()
