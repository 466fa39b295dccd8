"""The live numbers are the kernel's, as others read them; and how runs end is told apart everywhere."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from tests.system.vm import DEADLINE, LIVE, journal, record_file, scopes, sh, start, state, until

SECONDS = 20
"""So long that a ration of CPU time more or less, 20 ms of each 100, is well below the tolerance."""
JOB_FILE = """
jobs:
  spins: {command: "while :; do :; done", resource_limits: {cpu: 0.2, memory: 100M, tasks: 5}}
  eats:
    command: [/usr/bin/python3, -c, "import time; x = bytearray(60 << 20); time.sleep(600)"]
  writes: {command: "while :; do dd if=/dev/zero of=/root/written bs=1M count=4 conv=fsync status=none; done"}
  ends: {command: "read n </run/live/n; echo $((n + 1)) >/run/live/n; exit $n"}
  dies: {command: "read n </run/live/n; kill -s $n $$; sleep 600"}
"""


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    LIVE.mkdir(exist_ok=True)
    start(JOB_FILE)


@cache
def home() -> Path:
    (scope,) = scopes()
    return Path("/sys/fs/cgroup" + state(scope, "ControlGroup"))


def connected() -> socket.socket:
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(DEADLINE)
    control.connect("/run/jobqueue/control")
    return control


def messages(control: socket.socket) -> Any:
    """Replies as they come."""
    partial = b""
    while data := control.recv(1 << 16):
        *whole, partial = (partial + data).split(b"\0")
        yield from map(json.loads, whole)


def usage(until_over: Callable[[], bool]) -> dict[str, list[Any]]:
    """What Usage tells of each run, by its name, until something is over."""
    found: dict[str, list[Any]] = {}
    with connected() as control:
        control.sendall(b'{"method": "io.jobqueue.Usage", "more": true}\0')
        for reply in messages(control):
            for run in reply["parameters"]["runs"]:
                found.setdefault(run["run"], []).append(run)
            if until_over():
                return found
    raise AssertionError("it hung up")


@pytest.fixture(scope="module")
def live() -> list[str]:
    """Runs that are at work."""
    runs = [sh("jobqueuectl", "run", job).strip() for job in ("spins", "eats", "writes")]
    peak = home() / "eats@1.1" / "memory.current"
    until("it has eaten", lambda: peak.exists() and int(peak.read_text()) > 60 << 20)
    return runs


def number(name: str, key: str = "") -> int:
    """A number in a file of a run's cgroup."""
    text = (home() / name).read_text()
    return int(re.search(rf"^{key} (\d+)$", text, re.M)[1] if key else text)  # type: ignore[index]


@pytest.mark.usefixtures("live")
def test_beside_the_files_of_cgroups() -> None:
    """CPU, memory, tasks and disks over some time, read by the test itself at both ends: within 2 %."""
    names = ("spins@1.1", "writes@1.1")

    def counters() -> list[float]:
        written = [int(w) for w in re.findall(r"wbytes=(\d+)", (home() / "writes@1.1" / "io.stat").read_text())]
        return [time.monotonic(), *(number(f"{name}/cpu.stat", "usage_usec") / 1e6 for name in names), sum(written)]

    looks: list[list[float]] = []

    def over() -> bool:
        looks.append(counters())
        return looks[-1][0] - looks[0][0] > SECONDS

    shown = usage(over)
    seconds, *used = (after - before for before, after in zip(looks[0], looks[-1], strict=True))
    spins, writes, eats = (shown[run][1:] for run in ("spins@1", "writes@1", "eats@1"))
    told = [mean(r["now"]["cpu"] for r in spins), mean(r["now"]["cpu"] for r in writes)]
    assert [*told, mean(r["now"]["io_write"] for r in writes)] == pytest.approx([n / seconds for n in used], rel=0.02)
    assert eats[-1]["now"]["memory"] == pytest.approx(number("eats@1.1/memory.current"), rel=0.02)
    assert eats[-1]["now"]["tasks"] == number("eats@1.1/pids.current") == 1
    assert spins[-1]["limits"] == {"cpu": 0.2, "memory": 100 << 20, "tasks": 5}
    assert looks[-2][1] <= spins[-1]["cpu_seconds"] <= looks[-1][1]
    assert spins[-1]["throttled"] > 0
    assert {run["by"] for run in (*spins, *writes, *eats)} == {"cgroup"}


@pytest.mark.usefixtures("live")
def test_beside_systemd_cgtop() -> None:
    """At the same time it shows the same of what is steady, within 2 %."""
    command = ["systemd-cgtop", "--batch", "--iterations=2", f"--delay={SECONDS}", "--depth=5", "--raw", "-P"]
    found: list[str] = []
    other = threading.Thread(
        target=lambda: found.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    )
    other.start()
    shown = usage(lambda: not other.is_alive())
    rows = {line.split()[0]: line.split()[1:] for line in found[0].splitlines() if "/" in line}
    rows = {name.rpartition("/")[2]: row for name, row in rows.items()}
    told = mean(r["now"]["cpu"] for r in shown["spins@1"][1:])
    assert told == pytest.approx(float(rows["spins@1.1"][1]) / 100, rel=0.02)
    assert shown["eats@1"][-1]["now"]["memory"] == pytest.approx(int(rows["eats@1.1"][2]), rel=0.02)


def test_top(live: list[str]) -> None:
    """It shows them with their limits; ended by a person they are gone from it, and so is the looking."""
    shown = sh("jobqueuectl", "top", "--sort", "memory").partition("\n\n")[2].splitlines()
    rows = [re.split(r"  +", line) for line in shown[1:]]
    assert (rows[0][0], rows[0][3], rows[0][5]) == ("eats@1", "running", "1")
    (spins,) = (row for row in rows if row[0] == "spins@1")
    assert spins[1].endswith(" of 20 %")
    assert spins[2].endswith(" of 100 MiB")
    assert spins[5] == "1 of 5"
    for run in live:
        sh("jobqueuectl", "stop", run)
        until(f"{run} ends", lambda run=run: record_file(run))
    assert sh("jobqueuectl", "top").splitlines()[-1] == "No run is live."


def run_all(job: str, count: int) -> list[Any]:
    """The records of so many runs of a job, one after the other."""
    call = json.dumps({"method": "io.jobqueue.Run", "parameters": {"job": job}}).encode() + b"\0"
    with connected() as control:
        control.sendall(call * count)
        replies = messages(control)
        runs = [next(replies)["parameters"]["run"] for _ in range(count)]
    return [until(f"{run} ends", lambda run=run: record_file(run)) for run in runs]


def test_each_exit_code_is_told_apart() -> None:
    """0 to 255, in record, journal and command line."""
    (LIVE / "n").write_text("0\n")
    records = [record for _ in range(4) for record in run_all("ends", 64)]
    assert [(r["exit_code"], r["signal"]) for r in records] == [(code, None) for code in range(256)]
    assert [r["reason"] for r in records] == [None, *(f"exit code {code}" for code in range(1, 256))]
    assert [r["state"] for r in records] == ["succeeded"] + ["failed"] * 255
    told = journal("JOBQUEUE_JOB=ends", "JOBQUEUE_EVENT=run_ended")
    assert [(e["JOBQUEUE_EXIT_CODE"], "JOBQUEUE_SIGNAL" in e) for e in told] == [(str(c), False) for c in range(256)]
    assert all(f"exit code {code}" in entry["MESSAGE"] for code, entry in enumerate(told) if code)
    lines = sh("jobqueuectl", "history", "ends", "-n", "300").splitlines()
    assert len([line for line in lines if "exit code" in line]) == 255


DEADLY = [number for number in signal.Signals if number not in (
    signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN,
    signal.SIGTTOU, signal.SIGRTMIN, signal.SIGRTMAX,
)]  # fmt: skip


def test_each_signal_is_told_apart() -> None:
    """SIGKILL, SIGSEGV and every other deadly one, from each other and from exit codes beyond 128."""
    for number in DEADLY:
        (LIVE / "n").write_text(f"{number}\n")
        (record,) = run_all("dies", 1)
        name = f"signal {number} ({number.name}"
        assert (record["state"], record["exit_code"], record["signal"]) == ("failed", None, number)
        assert record["reason"].startswith(name)
        (entry,) = journal(f"JOBQUEUE_RUN={record['run']}", "JOBQUEUE_EVENT=run_ended")
        assert (entry["JOBQUEUE_SIGNAL"], "JOBQUEUE_EXIT_CODE" in entry) == (str(int(number)), False)
        assert name in entry["MESSAGE"]
        assert name in sh("jobqueuectl", "show", record["run"])
