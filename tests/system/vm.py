"""What the tests in the virtual machine share: an installed jobqueued, and what it, systemd and journald say."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

JOBS, STATE, LOGS = Path("/etc/jobqueue.d"), Path("/var/lib/jobqueue"), Path("/var/log/jobqueue")
LIVE = Path("/run/live")
LONG = """
jobs:
  long:
    command: |
      echo $$ >/run/live/pid
      until [ -e /run/live/go ]; do sleep 0.05; done
      exit 7
"""
"""A job file whose run ends, with exit code 7, when LIVE/go appears."""
BOOT = int(os.environ.get("VM_BOOT", "1"))
"""Which boot of the machine this is."""
FAILURES: list[str] = []
"""Tests of this boot that have failed."""
DEADLINE = 120.0 if "vm-run=tcg" in Path("/proc/cmdline").read_text() else 60.0
T = TypeVar("T")


def sh(*command: str) -> str:
    """The command's stdout; a failure shows what it said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def until(what: str, condition: Callable[[], T], pause: float = 0.05) -> T:
    """Wait for a condition, which is looked at after each pause, and return what it found."""
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {DEADLINE:g} s: {what}"
        time.sleep(pause)
    return found


def ctl(*arguments: str) -> Any:
    """What a command answers in JSON, without the number of its schema, and the name that it adds to who has asked."""
    answer = json.loads(sh("jobqueuectl", *arguments, "--json"))
    assert answer.pop("schema") == 1
    answer.pop("asked_by_name", None)
    return answer


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


def pids(unit: str) -> set[int]:
    """All processes in the unit's cgroup and below it."""
    files = Path("/sys/fs/cgroup" + state(unit, "ControlGroup")).rglob("cgroup.procs")
    return {int(pid) for file in files for pid in file.read_text().split()}


def scopes() -> list[str]:
    """The scopes of launchers and their runs."""
    lines = sh("systemctl", "list-units", "--all", "--no-legend", "--plain", "jobqueue-*.scope").splitlines()
    return [line.split()[0] for line in lines]


def failed() -> str:
    """The units of ours that systemd counts as failed."""
    return sh("systemctl", "list-units", "--failed", "--no-legend", "--plain", "jobqueue*")


def ask_for_boot(how: str) -> None:
    """After this boot, which ends by a `reboot` or, now, by a `power-cut`, vm-run shall start another from the disk."""
    assert not FAILURES, "tests of this boot have failed, so there is no next one"
    Path("/out/.vm-run/again").write_text(how)


def restarted_main(name: str, unit: str) -> int:
    """Send a deadly signal to the unit's main process; the pid of the next one, which need not be ready yet."""
    before = int(state(unit, "MainPID"))
    sh("systemctl", "kill", "--kill-whom=main", "-s", name, unit)
    return until(f"a new process of {unit}", lambda: (new := int(state(unit, "MainPID"))) not in (0, before) and new)


def kill_main(name: str, unit: str) -> None:
    """Send a deadly signal to the unit's main process, and wait until systemd has started it again."""
    restarted_main(name, unit)
    until("it is ready", lambda: state(unit, "SubState") == "running")


def long_run() -> tuple[str, int]:
    """A live run of LONG, and its pid."""
    LIVE.mkdir(exist_ok=True)
    for name in LIVE.iterdir():
        name.unlink()
    run = sh("jobqueuectl", "run", "long").strip()
    return run, int(until("it writes its pid", lambda: (LIVE / "pid").exists() and (LIVE / "pid").read_text()))


def assert_went_on(run: str, pid: int) -> None:
    """The run is the same process as before; it ends with its exact exit code, recorded and told once."""
    os.kill(pid, 0)
    assert ctl("show", run)["pid"] == pid
    (LIVE / "go").touch()
    until(f"the journal tells the end of {run}", lambda: "run_ended" in events(run))
    assert events(run) == ["run_started", "run_ended"]
    assert story(run, "JOBQUEUE_EVENT=run_ended")[0]["JOBQUEUE_EXIT_CODE"] == "7"
    record = ctl("show", run)
    assert (record["state"], record["exit_code"], record["pid"], len(record["attempts"])) == ("failed", 7, pid, 1)
    assert record_file(run) == record


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
