"""Two CPUs at once, which User-mode Linux has not; and deaths in the midst of a fork, which it does not survive.

# vm-run: --engine tcg
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.system.vm import (
    LIVE,
    LONG,
    assert_went_on,
    failed,
    journal,
    record_file,
    restarted_main,
    scopes,
    sh,
    start,
    state,
    until,
)

JOB_FILE = (
    LONG
    + """
  many:
    command: echo $JOBQUEUE_RUN >>/run/live/many
    concurrency: 8
  multiplies:
    command: |
      trap "" TERM
      while :; do (trap "" TERM; setsid sh -c 'trap "" TERM; sleep 600' &); sleep 0.02; done
    timeout: 1s
    kill_grace: 1s
  writes:
    command: dd if=/dev/zero of=/root/written bs=256K count=16 oflag=direct status=none
    resource_limits: {io_write: 1M}
    enforce: required
  placed:
    command:
      - /usr/bin/python3
      - -c
      - |
        import os, time
        os.sched_setaffinity(0, {0, 1})
        print(*os.sched_getaffinity(0), flush=True)
        while not os.path.exists("/run/live/placed"): time.sleep(0.05)
    concurrency: 2
    resources: {cpu: 1}
    placement: spread
  bomb:
    command: "b() { b | b & }; b; sleep 600"
    resource_limits: {tasks: 30}
    timeout: 10s
    kill_grace: 0s
"""
)


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    start(JOB_FILE)


def test_the_machine_is_what_this_is_for() -> None:
    """Two CPUs, pressure stall information, cpuset."""
    assert os.cpu_count() == 2
    assert Path("/proc/pressure/cpu").exists()
    assert "cpuset" in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()


def many(count: int) -> list[str]:
    """So many runs of `many`, asked for in one connection."""
    calls = b"".join(
        json.dumps({"method": "io.jobqueue.Run", "parameters": {"job": "many"}}).encode() + b"\0" for _ in range(count)
    )
    with socket.socket(socket.AF_UNIX) as control:
        control.connect("/run/jobqueue/control")
        control.sendall(calls)
        answers = b""
        while answers.count(b"\0") < count:
            answers += control.recv(1 << 16)
    return [json.loads(answer)["parameters"]["run"] for answer in answers.split(b"\0") if answer]


@pytest.mark.parametrize(("unit", "deaths"), [("jobqueued", 3), ("jobqueued-launcher", 10)])
def test_deaths_among_many_runs(live_run: tuple[str, int], unit: str, deaths: int) -> None:
    """Killed again and again while runs start and end on both CPUs: each runs exactly once, none is told twice."""
    (LIVE / "many").write_text("")
    runs: list[str] = []
    for _ in range(deaths):
        until("the scheduler is ready", lambda: state("jobqueued", "SubState") == "running")
        runs += many(8)
        restarted_main("KILL", unit)
    until("all have ended", lambda: all(record_file(run) for run in runs))
    assert {record_file(run)["state"] for run in runs} == {"succeeded"}
    assert sorted((LIVE / "many").read_text().split()) == sorted(runs)
    until("it is ready", lambda: state(unit, "SubState") == "running")
    told = Counter(entry["JOBQUEUE_RUN"] for entry in journal("JOBQUEUE_EVENT=run_ended"))
    assert max(told.values()) == 1
    assert failed() == ""
    assert_went_on(*live_run)
    until("one scope is left", lambda: len(scopes()) == 1)


def left() -> list[str]:
    """The cgroups that there are beside the launcher's."""
    (scope,) = scopes()
    return [path.name for path in Path("/sys/fs/cgroup" + state(scope, "ControlGroup")).iterdir() if path.is_dir()]


def finished(job: str) -> Any:
    run = sh("jobqueuectl", "run", job).strip()
    return until(f"{run} ends", lambda: record_file(run))


def test_what_multiplies_is_ended() -> None:
    """Processes that leave session and parent, ignore SIGTERM and fork on are ended all at once."""
    record = finished("multiplies")
    assert (record["state"], record["reason"]) == ("timed_out", "timeout after 1 s")
    assert left() == ["self"]
    assert "sleep 600" not in sh("ps", "-eo", "args")


def test_runs_stay_on_their_cpus() -> None:
    """Each is on the CPU it was given and can't leave it; the controller is on only as long as there is such a run."""
    runs = [sh("jobqueuectl", "run", "placed").strip() for _ in range(2)]
    until("both are placed", lambda: all(map(written, runs)))
    assert sorted(map(written, runs)) == ["0", "1"]
    (scope,) = scopes()
    control = Path("/sys/fs/cgroup" + state(scope, "ControlGroup"), "cgroup.subtree_control")
    assert "cpuset" in control.read_text().split()
    (LIVE / "placed").touch()
    for run in runs:
        record = until(f"{run} ends", lambda run=run: record_file(run))
        assert (record["state"], record["enforced"]) == ("succeeded", {"cpus": "cgroup"})
    assert "cpuset" not in control.read_text().split()


def written(run: str) -> str:
    """What the run has written so far."""
    return sh("jobqueuectl", "logs", run).strip()


def test_a_writer() -> None:
    """4 MiB at 1 MiB a second take it as long as that."""
    record = finished("writes")
    assert (record["state"], record["enforced"], record["io_write"]) == ("succeeded", {"io_write": "cgroup"}, 4 << 20)
    began, ended = (datetime.fromisoformat(record[name]) for name in ("started", "ended"))
    assert 3 <= (ended - began).total_seconds() <= 10


def test_a_fork_bomb() -> None:
    """It stops at its tasks, and is ended."""
    record = finished("bomb")
    assert (record["state"], record["tasks_peak"]) == ("timed_out", 30)
    assert any(told.startswith("it could not start more tasks than 30 (pids") for told in record["warnings"])
    assert left() == ["self"]
