"""Each run's own cgroup: in it from the first instruction, measured by it, ended with it, and gone afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
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
    status,
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
  nests: {command: nest}
  leaves: {command: setsid sleep 600 &, leave_children: true}
  child-over: {command: [/usr/local/bin/child-over]}
  over:
    command: python3 -c 'x = bytearray(200 << 20)'; echo survived
    resource_limits: {memory: 50M, swap: 0}
  hooked:
    command: cat /proc/self/cgroup; sleep 1
    resource_limits: {memory: 50M, swap: 0, cpu: 0.9}
    telemetry_hooks:
      - {command: "python3 -c 'x = bytearray(200 << 20)'", at: start}
      - command: |
          printf '{"%s": "%s"}' $JOBQUEUE_HOOK $(cat /proc/self/cgroup)
        at: [start, end]
  hooked-hangs:
    command: "true"
    telemetry_hooks: {command: "setsid sleep 987 & exec sleep 987", at: end, timeout: 5m}
  neighbour:
    command: [/usr/bin/python3, -c, "import time; x = bytearray(80 << 20); time.sleep(2)"]
    resource_limits: {memory: 150M}
  spins: {command: "while :; do :; done", resource_limits: {cpu: 0.2}, timeout: 10s}
  capped:
    command: seq 50000 >/dev/null; exec sleep 600
    resource_limits: {cpu: 0.5, memory: 64M, memory_high: 48M, swap: 1M, tasks: 20}
  capped-alice:
    command: seq 50000 >/dev/null; exec sleep 600
    user: alice
    resource_limits: {memory: 64M, tasks: 20}
    enforce: required
  orphan:
    command: "echo $PPID >/run/live/supervisor; setsid sleep 600 & exec sleep 600"
    resource_limits: {cpu: 0.5}
  scattered:
    command: env -i setsid -f sleep 601; setsid sleep 601 & exec sleep 601
  scattered-alice:
    command: env -i setsid -f sleep 601; setsid sleep 601 & exec sleep 601
    user: alice
  over-and-away:
    command: |
      systemd-run --quiet --scope sleep 600 &
      python3 -c 'x = bytearray(200 << 20)'
    resource_limits: {memory: 50M, swap: 0}
  shares: {command: "true", resource_limits: {cpu: 0.5}, timeout: 20s}
"""
)


NEST = """#!/bin/sh
own=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
mkdir -p $own/a/b
sh -c "echo 0 >$own/a/b/cgroup.procs; exec sleep 600" &
until grep -q . $own/a/b/cgroup.procs; do sleep 0.02; done
"""


CHILD_OVER = """#!/bin/sh -e
cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)
mkdir a b
echo 0 >b/cgroup.procs
echo +memory >cgroup.subtree_control
echo 20M >a/memory.max
echo 0 >a/memory.swap.max
(echo 0 >a/cgroup.procs; exec python3 -c 'x = bytearray(60 << 20)') || echo "child: $?"
"""


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    sh("useradd", "--create-home", "alice")
    for name, text in {"nest": NEST, "child-over": CHILD_OVER}.items():
        Path("/usr/local/bin", name).write_text(text)
        Path("/usr/local/bin", name).chmod(0o755)
    Path("/run/live").mkdir()
    start(JOB_FILE)


def test_told() -> None:
    """That runs have cgroups is told, and nothing of what would not be enforced without."""
    assert status()["controllers"] == ["memory", "pids", "io", "cpu"]
    assert "have no cgroups" not in sh("journalctl", "-u", "jobqueued", "-o", "cat")
    (found,) = (each for each in ctl("doctor")["findings"] if each["what"] == "cgroups")
    assert found["seen"].startswith("runs have the controllers memory, pids, io, cpu; no cpuset: "), (
        "not in this kernel"
    )


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
    assert 50 << 20 <= eats["memory_mean"] <= eats["memory_peak"]
    assert burns["cpu_user"] + burns["cpu_system"] > 0.05
    assert 20 << 20 <= writes["io_write"] <= 24 << 20
    assert [writes[name] for name in ("memory_peak", "io_read")] == [
        writes["attempts"][0][name] for name in ("memory_peak", "io_read")
    ]
    shown = sh("jobqueuectl", "show", writes["run"])
    assert "MiB written" in shown
    assert "at most" in shown


def test_cgroups_below() -> None:
    """What a job has made below its own cgroup goes with it, and what is in there too."""
    record = finished("nests")
    assert record["state"] == "succeeded"
    assert "its command left processes behind; they were ended: s" in record["warnings"][0], "sh or already sleep"
    assert left() == ["self"]


def test_what_may_be_left() -> None:
    """`leave_children`: the cgroup stays as long as they do."""
    record = finished("leaves")
    assert sorted(left()) == [f"{record['run']}.1", "self"]
    (procs,) = (home() / f"{record['run']}.1" / "cgroup.procs").read_text().split()
    os.kill(int(procs), signal.SIGKILL)
    until("the cgroup is gone", lambda: left() == ["self"])


def test_a_dead_supervisor_ends_what_may_be_left() -> None:
    """As nobody would know of it any more."""
    record = finished("leaves")
    (process,) = (home() / f"{record['run']}.1" / "cgroup.procs").read_text().split()
    os.kill(int(sh("ps", "-o", "ppid=", "-p", process)), signal.SIGKILL)
    until("the cgroup is gone", lambda: left() == ["self"])
    assert "sleep 600" not in sh("ps", "-eo", "args")
    assert status()["left"] == []
    assert record_file(record["run"])["state"] == "succeeded"


def test_a_dead_supervisor_ends_its_cgroup() -> None:
    """The launcher ends all of it and takes it away."""
    run, file = sh("jobqueuectl", "run", "orphan").strip(), Path("/run/live/supervisor")
    supervisor = int(until("its supervisor is known", lambda: file.exists() and file.read_text()))
    os.kill(supervisor, signal.SIGKILL)
    record = until(f"{run} ends", lambda: record_file(run))
    assert record["state"] == "lost"
    until("the cgroup is gone", lambda: left() == ["self"])
    assert "sleep 600" not in sh("ps", "-eo", "args")
    assert "cpu" not in (home() / "cgroup.subtree_control").read_text().split(), "nobody needs it any more"


@pytest.mark.parametrize("job", ["scattered", "scattered-alice"])
def test_all_who_watch_it_die(job: str) -> None:
    """Launcher and supervisors are killed together: the scheduler, who may kill but not look into processes, finds all
    that is left of a run by its cgroup."""
    run = sh("jobqueuectl", "run", job).strip()
    until("it has begun", lambda: sh("ps", "-eo", "args").count("sleep 601") == 3)
    (home() / "self" / "cgroup.kill").write_text("1")
    record = until(f"{run} ends", lambda: record_file(run))
    assert (record["state"], record["reason"]) == ("lost", "its supervisor is gone")
    assert "sleep 601" not in sh("ps", "-eo", "args")
    until("the scope of before is gone", lambda: len(scopes()) == 1)
    sh("jobqueuectl", "run", "where", "--wait")


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


def caps(run: str) -> dict[str, str]:
    """What the kernel lets a live run have."""
    names = "cpu.max", "memory.max", "memory.high", "memory.swap.max", "memory.oom.group", "pids.max"
    files = [next(Path("/sys/fs/cgroup/jobqueue.slice").rglob(f"{run}.1")) / name for name in names]
    return {file.name: file.read_text().strip() for file in files if file.exists()}


def counters(run: str) -> list[int]:
    """What a live run has used so far, as the kernel counts it: µs of CPU time, the peaks of memory and tasks."""
    cgroup = next(Path("/sys/fs/cgroup/jobqueue.slice").rglob(f"{run}.1"))
    cpu = dict(line.split() for line in (cgroup / "cpu.stat").read_text().splitlines())
    peaks = [int((cgroup / name).read_text()) for name in ("memory.peak", "pids.peak")]
    return [int(cpu["usage_usec"]), *peaks]


def test_over_its_memory() -> None:
    """All of the run is killed by the kernel; its neighbour and the daemon live, and it is told what it was."""
    daemons = [state(unit, "MainPID") for unit in ("jobqueued", "jobqueued-launcher")]
    neighbour = sh("jobqueuectl", "run", "neighbour").strip()
    record = finished("over")
    assert (record["state"], record["signal"]) == ("oom_killed", 9)
    assert re.fullmatch(r"out of memory: its limit is 50 MiB \(memory.events: oom_kill \d\)", record["reason"])
    assert (record["enforced"], record["warnings"]) == ({"memory": "cgroup", "swap": "cgroup"}, [])
    assert 49 << 20 <= record["memory_peak"] <= 50 << 20
    assert "survived" not in record["output"]["tail"]
    assert until("the neighbour ends", lambda: record_file(neighbour))["state"] == "succeeded"
    assert daemons == [state(unit, "MainPID") for unit in ("jobqueued", "jobqueued-launcher")]


def test_what_had_gone_elsewhere_when_memory_ran_out() -> None:
    """What has left the run's cgroup, but is below its supervisor, goes with it."""
    record = finished("over-and-away")
    assert record["state"] == "oom_killed", record["reason"]
    assert "sleep 600" not in sh("ps", "-eo", "args")


def ended(run: str) -> Any:
    """The record as the daemon has it, once its hooks have been told as well."""
    return until(f"{run} ends", lambda: (found := ctl("show", run))["state"] == "succeeded" and found)


def test_hooks_have_one_beside_the_runs() -> None:
    """A telemetry hook has the limits of the run, and a cgroup of its own: when it is killed the run goes on."""
    record = ended(sh("jobqueuectl", "run", "hooked").strip())
    own = record["output"]["tail"].strip()
    assert record["telemetry"] == dict.fromkeys(("start", "end"), f"{own}.hook")
    (warning,) = record["warnings"]
    assert re.fullmatch(r".*, start: out of memory: its limit is 50 MiB \(memory.events: oom_kill \d\)", warning)
    assert record["memory_peak"] < 40 << 20
    assert left() == ["self"]


def test_a_dead_supervisor_ends_its_hooks() -> None:
    """The launcher kills all of them, and their cgroup is gone; the end of the run is what the record file says."""
    run = sh("jobqueuectl", "run", "hooked-hangs").strip()
    until("it hangs", lambda: sh("ps", "-eo", "args").count("sleep 987") == 2)
    (keeper,) = sh("pgrep", "-x", "jq-hook").split()
    os.kill(int(sh("ps", "-o", "ppid=", "-p", keeper)), signal.SIGKILL)
    ended(run)
    until("nothing is left", lambda: "sleep 987" not in sh("ps", "-eo", "args") and left() == ["self"])


def test_nobody_holds_up_who_needs_cpu() -> None:
    """Locks that users can take (on directories, which all may read) are none of ours."""
    command = ["runuser", "-u", "alice", "--", "flock", "--exclusive", str(home())]
    with subprocess.Popen([*command, "sleep", "600"]) as stranger:
        until("it has the lock", lambda: subprocess.run(["flock", "-n", str(home()), "true"], check=False).returncode)
        assert finished("shares")["state"] == "succeeded"
        sh("pkill", "-u", "alice", "sleep")
        stranger.wait()


def test_a_child_over_its_memory() -> None:
    """It did not decide the end, but is told."""
    record = finished("child-over")
    told = "out of memory: a limit below its own cgroup (memory.events: oom_kill 1)"
    assert (record["state"], record["warnings"], record["output"]["tail"]) == (
        "succeeded",
        [told],
        "Killed\nchild: 137\n",
    )


def test_a_spinning_job() -> None:
    """It gets its share of CPU time, and what it wanted beyond it is told; afterwards time is not shared by cgroups."""
    record = finished("spins")
    assert (record["enforced"], record["warnings"]) == ({"cpu": "cgroup"}, [])
    assert 2.0 - 0.3 <= record["cpu_user"] + record["cpu_system"] <= 2.0 + 0.3, "20 % ± 3 of 10 s"
    assert record["throttled"] > 5
    assert "cpu" not in (home() / "cgroup.subtree_control").read_text().split()


def _stop_and_start() -> None:
    sh("systemctl", "stop", "jobqueued")
    sh("systemctl", "start", "jobqueued")


def _upgrade() -> None:
    sh("make", "install", "PREFIX=/usr")
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", "jobqueued-launcher", "jobqueued")


WAYS: dict[str, Callable[[], None]] = {
    "the scheduler dies": lambda: kill_main("KILL", "jobqueued"),
    "the launcher dies": lambda: kill_main("KILL", "jobqueued-launcher"),
    "a restart": lambda: print(sh("systemctl", "restart", "jobqueued")),
    "a stop": _stop_and_start,
    "an upgrade": _upgrade,
}


@pytest.mark.parametrize("way", WAYS)
def test_caps_stay(way: str) -> None:
    """They are as they were, whatever happens to scheduler, launcher and systemd."""
    runs = [sh("jobqueuectl", "run", job).strip() for job in ("capped", "capped-alice")]
    for run in runs:
        until(f"{run} runs", lambda run=run: ctl("show", run)["state"] == "running")
    before = [caps(run) for run in runs]
    assert before[0] == {
        "cpu.max": "50000 100000", "memory.max": str(64 << 20), "memory.high": str(48 << 20),
        "memory.swap.max": str(1 << 20), "memory.oom.group": "1", "pids.max": "20",
    }  # fmt: skip
    assert (before[1]["memory.max"], before[1]["pids.max"]) == (str(64 << 20), "20")
    counted = [counters(run) for run in runs]
    WAYS[way]()
    sh("systemctl", "reload", "jobqueued")
    sh("systemctl", "daemon-reload")
    sh("systemctl", "daemon-reexec")
    assert [caps(run) for run in runs] == before
    for run, figures in zip(runs, counted, strict=True):
        assert all(now >= then > 0 for now, then in zip(counters(run), figures, strict=True)), "none began anew"
    for run in runs:
        sh("jobqueuectl", "stop", run)
        assert until(f"{run} ends", lambda run=run: record_file(run))["state"] == "killed"
