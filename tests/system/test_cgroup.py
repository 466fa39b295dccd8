"""Each run's own cgroup: in it from the first instruction, measured by it, ended with it, and gone afterwards."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.system.vm import (
    LONG,
    assert_went_on,
    ctl,
    kill_main,
    long_run,
    output,
    record_file,
    scopes,
    sh,
    start,
    state,
    until,
)

JOB_FILE = (
    LONG
    + """
  where: {command: cat /proc/self/cgroup}
  where-alice: {command: cat /proc/self/cgroup, user: alice}
  where-nice: {command: cat /proc/self/cgroup, nice: 5}
  no-such: {command: [/no/such]}
  eats:
    command: [/usr/bin/python3, -c, "import os, time; os.fork(); x = bytearray(60 << 20); time.sleep(0.5)"]
  burns: {command: "(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done) & wait"}
  writes: {command: dd if=/dev/zero of=/root/written bs=1M count=20 conv=fsync status=none}
  multiplies:
    command: |
      trap "" TERM
      while :; do (trap "" TERM; setsid sh -c 'trap "" TERM; sleep 600' &); sleep 0.02; done
    timeout: 1s
    kill_grace: 1s
  nests: {command: nest}
  leaves: {command: setsid sleep 600 &, leave_children: true}
  orphan: {command: "echo $PPID >/run/live/supervisor; setsid sleep 600 & exec sleep 600"}
"""
)


NEST = """#!/bin/sh
own=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
mkdir -p $own/a/b
sh -c "echo 0 >$own/a/b/cgroup.procs; exec sleep 600" &
until grep -q . $own/a/b/cgroup.procs; do sleep 0.02; done
"""


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    sh("useradd", "--create-home", "alice")
    Path("/usr/local/bin/nest").write_text(NEST)
    Path("/usr/local/bin/nest").chmod(0o755)
    Path("/run/live").mkdir()
    start(JOB_FILE)


def home() -> Path:
    """Where the present launcher makes cgroups."""
    (scope,) = scopes()
    return Path("/sys/fs/cgroup" + state(scope, "ControlGroup"))


def left() -> list[str]:
    return [path.name for path in home().iterdir() if path.is_dir()]


def finished(job: str) -> Any:
    run = sh("jobqueuectl", "run", job).strip()
    return until(f"{run} ends", lambda: record_file(run))


@pytest.mark.parametrize("job", ["where", "where-alice", "where-nice"])
def test_started_inside(job: str) -> None:
    """Whichever way it is started it is in its own cgroup when its command begins; afterwards that is gone."""
    record = finished(job)
    assert (record["state"], record["reason"]) == ("succeeded", None)
    assert output(record["run"]).strip() == f"0::{str(home()).removeprefix('/sys/fs/cgroup')}/{job}@1.1"
    assert left() == ["self"]


def test_what_did_not_start() -> None:
    """Nothing is left of a start that failed."""
    assert finished("no-such")["reason"].startswith("start_failed: exec: ")
    assert left() == ["self"]


def test_figures() -> None:
    """Memory, CPU time and I/O of all processes of a run are in its record, as the kernel counts them."""
    eats, burns, writes = finished("eats"), finished("burns"), finished("writes")
    assert 120 << 20 <= eats["memory_peak"] <= 160 << 20, "two processes with 60 MiB each"
    assert (eats["memory_peak_below"], eats["tasks_peak"]) == (None, 2)
    assert burns["cpu_user"] + burns["cpu_system"] > 0.05
    assert 20 << 20 <= writes["io_write"] <= 24 << 20
    assert [writes[name] for name in ("memory_peak", "io_read")] == [
        writes["attempts"][0][name] for name in ("memory_peak", "io_read")
    ]
    shown = sh("jobqueuectl", "show", writes["run"])
    assert "MiB written" in shown
    assert "at most" in shown


def test_what_multiplies_is_ended() -> None:
    """Processes that leave session and parent, ignore SIGTERM and fork on are ended all at once."""
    record = finished("multiplies")
    assert (record["state"], record["reason"]) == ("timed_out", "timeout after 1 s")
    assert left() == ["self"]
    assert "sleep 600" not in sh("ps", "-eo", "args")


def test_cgroups_below() -> None:
    """What a job has made below its own cgroup goes with it, and what is in there too."""
    record = finished("nests")
    assert record["state"] == "succeeded"
    assert "its command left processes behind, which were ended: sleep" in record["warnings"][0]
    assert left() == ["self"]


def test_what_may_be_left() -> None:
    """`leave_children`: the cgroup stays as long as they do."""
    record = finished("leaves")
    assert sorted(left()) == [f"{record['run']}.1", "self"]
    (procs,) = (home() / f"{record['run']}.1" / "cgroup.procs").read_text().split()
    os.kill(int(procs), signal.SIGKILL)
    until("the cgroup is gone", lambda: left() == ["self"])


def test_a_dead_supervisor_ends_its_cgroup() -> None:
    """The launcher ends all of it and takes it away."""
    run, file = sh("jobqueuectl", "run", "orphan").strip(), Path("/run/live/supervisor")
    supervisor = int(until("its supervisor is known", lambda: file.exists() and file.read_text()))
    os.kill(supervisor, signal.SIGKILL)
    record = until(f"{run} ends", lambda: record_file(run))
    assert record["state"] == "lost"
    until("the cgroup is gone", lambda: left() == ["self"])
    assert "sleep 600" not in sh("ps", "-eo", "args")


@pytest.mark.parametrize("unit", ["jobqueued", "jobqueued-launcher"])
def test_over_a_death(unit: str) -> None:
    """A run stays in its cgroup when scheduler or launcher dies, and is measured to its end."""
    run, pid = long_run()
    before = Path(f"/proc/{pid}/cgroup").read_text()
    kill_main("KILL", unit)
    sh("systemctl", "daemon-reload")
    sh("systemctl", "daemon-reexec")
    assert Path(f"/proc/{pid}/cgroup").read_text() == before
    assert_went_on(run, pid)
    assert ctl("show", run)["memory_peak"] > 0
    assert not Path("/sys/fs/cgroup" + before.strip()[3:]).exists()
    until("the scope of before is gone", lambda: len(scopes()) == 1)
