"""The daemon as an administrator has it: installed by `make install`, started by systemd, read with journalctl."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vm import (
    JOBS,
    LOGS,
    ctl,
    events,
    jobs,
    journal,
    kill_main,
    output,
    record_file,
    sh,
    start,
    state,
    status,
    story,
    until,
)

GO = Path("/run/smoke")

JOB_FILE = """
jobs:
  hello:
    command: echo hello; exit 3
    success_codes: [3]
  minutely:
    command: [/bin/true]
    schedule: "* * * * *"
  long:
    command: |
      echo $$ >/run/smoke/pid
      until [ -e /run/smoke/go ]; do sleep 0.05; done
      exit 7
  curious:
    command: |
      grep -E '^(CapEff|NoNewPrivs|Seccomp|SigIgn|SigBlk):' /proc/self/status
      cat /proc/self/oom_score_adj
      ulimit -Sn
      touch /usr/curious /home/curious /tmp/curious
      cat /proc/self/cgroup
"""


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    start(JOB_FILE)
    assert "4 jobs" in state("jobqueued", "StatusText"), "start returned before READY"


@pytest.fixture
def live_run() -> Iterator[tuple[str, int]]:
    """A run of `long` and its pid.  It ends, with exit code 7, when GO/go appears."""
    GO.mkdir(exist_ok=True)
    for name in GO.iterdir():
        name.unlink()
    run = sh("jobqueuectl", "run", "long").strip()
    pid = until("its process writes its pid", lambda: (GO / "pid").exists() and (GO / "pid").read_text())
    yield run, int(pid)
    (GO / "go").touch()


def assert_went_on(run: str, pid: int) -> None:
    """The run is the same process as before; it ends with its exact exit code, recorded and told once."""
    os.kill(pid, 0)
    assert ctl("show", run)["pid"] == pid
    (GO / "go").touch()
    until(f"the journal tells the end of {run}", lambda: "run_ended" in events(run))
    assert events(run) == ["run_started", "run_ended"]
    assert story(run, "JOBQUEUE_EVENT=run_ended")[0]["JOBQUEUE_EXIT_CODE"] == "7"
    record = ctl("show", run)
    assert (record["state"], record["exit_code"], record["pid"], len(record["attempts"])) == ("failed", 7, pid, 1)
    assert record_file(run) == record


def test_a_run_is_told_in_the_journal_and_recorded() -> None:
    """Start and end lines with fields; the record file; `show` says the same."""
    run = sh("jobqueuectl", "run", "hello", "--wait").strip()
    started, ended = story(run)
    assert (started["JOBQUEUE_EVENT"], started["JOBQUEUE_JOB"]) == ("run_started", "hello")
    found = {name: ended[f"JOBQUEUE_{name}"] for name in ("EVENT", "JOB", "STATE", "EXIT_CODE")}
    assert found == {"EVENT": "run_ended", "JOB": "hello", "STATE": "succeeded", "EXIT_CODE": "3"}
    assert ended["_SYSTEMD_UNIT"] == "jobqueued.service"
    assert ctl("show", run) == record_file(run)
    assert output(run) == "hello\n"


def test_a_job_runs_when_the_clock_says_so() -> None:
    """A schedule starts its job at the full minute, also right after somebody set the clock."""
    sh("date", "--set", time.strftime("%Y-%m-%d %H:%M:58"))
    record = until("a run of `minutely`", lambda: record_file("minutely@1"))
    assert (record["trigger"], record["state"], record["due"][17:]) == ("schedule", "succeeded", "00.000000Z")


def test_files_belong_to_root_and_the_group() -> None:
    """Records and output are root:jobqueue and closed to others."""
    base = f"{LOGS}/{sh('jobqueuectl', 'run', 'hello', '--wait').strip().replace('@', '/')}"
    owners = sh("stat", "--format=%U:%G %a", str(LOGS), f"{LOGS}/hello", f"{base}.json", f"{base}.log")
    assert owners.splitlines() == ["root:jobqueue 2750"] * 2 + ["root:jobqueue 640"] * 2


def test_a_job_sees_no_sandbox() -> None:
    """What the scheduler and the launcher need for themselves is not passed on to jobs."""
    lines = output(sh("jobqueuectl", "run", "curious", "--wait").strip()).splitlines()
    assert dict(line.split(":\t") for line in lines[:5]) == {
        "SigBlk": "0000000000000000",
        "SigIgn": "0000000000000000",
        "CapEff": Path("/proc/self/status").read_text().split("CapEff:\t")[1].split("\n")[0],
        "NoNewPrivs": "0",
        "Seccomp": "0",
    }
    assert lines[5:7] == ["0", "1024"]
    assert lines[7].startswith("0::/jobqueue.slice/jobqueue-")
    assert Path("/tmp/curious").exists()


@pytest.mark.parametrize("signal", ["KILL", "ABRT"])
def test_a_run_survives_the_scheduler(live_run: tuple[str, int], signal: str) -> None:
    """A scheduler that is killed comes back and takes the run up again."""
    kill_main(signal, "jobqueued")
    assert_went_on(*live_run)


@pytest.mark.parametrize(
    "action",
    [
        "restart jobqueued",
        "restart jobqueued-launcher",
        "restart jobqueued-launcher.socket",
        "restart jobqueued jobqueued-launcher",
        "kill -s KILL jobqueued-launcher",
        "daemon-reexec",
    ],
)
def test_a_run_survives_what_administrators_do(live_run: tuple[str, int], action: str) -> None:
    """No restart ends a run, and afterwards the next one starts as usual."""
    sh("systemctl", *action.split())
    sh("systemctl", "start", "jobqueued")  # returns at once, or when a restart that the action brought along is done
    sh("jobqueuectl", "run", "hello", "--wait")
    assert_went_on(*live_run)


def test_a_run_that_ends_while_the_scheduler_is_stopped(live_run: tuple[str, int]) -> None:
    """Its supervisor keeps the exit code, and the next scheduler tells it."""
    run, _pid = live_run
    sh("systemctl", "stop", "jobqueued")
    (GO / "go").touch()
    record = until("the supervisor's record", lambda: record_file(run))
    sh("systemctl", "start", "jobqueued")
    assert (record["state"], record["exit_code"]) == ("failed", 7)
    until("its end in the journal", lambda: events(run) == ["run_started", "run_ended"])


def test_reload_returns_when_new_files_are_read() -> None:
    """`systemctl reload` (Type=notify-reload) is done when a file dropped before it counts."""
    (JOBS / "dropped.yaml").write_text("jobs:\n  dropped:\n    command: exit 0\n")
    sh("systemctl", "reload", "jobqueued")
    sh("jobqueuectl", "run", "dropped", "--wait")


def test_a_user_that_comes_later_is_found() -> None:
    """A job of an unknown user is Invalid, and runs as that user once there is one, without a reload."""
    (JOBS / "late.yaml").write_text("jobs:\n  late:\n    command: id -un\n    user: latecomer\n")
    until("it is Invalid", lambda: {"late": "Invalid"}.items() <= {job["id"]: job["status"] for job in jobs()}.items())
    sh("useradd", "--system", "latecomer")
    run = sh("jobqueuectl", "run", "late", "--wait").strip()
    assert output(run) == "latecomer\n"


def test_a_broken_or_unfinished_file_keeps_its_jobs_over_a_restart() -> None:
    """A restart beside a broken file, and beside one that is being written, runs what was accepted last."""
    for name in ("broken", "unfinished"):
        (JOBS / f"{name}.yaml").write_text(f"jobs:\n  {name}:\n    command: echo good\n")
    until("they are read", lambda: {"broken", "unfinished"} <= {job["id"] for job in jobs()})
    (JOBS / "broken.yaml").write_text("jobs: [")
    with open(JOBS / "unfinished.yaml", "w") as file:
        file.write("jobs:\n  unfinished:\n    command: echo half")
        file.flush()
        sh("systemctl", "restart", "jobqueued")
        for name in ("broken", "unfinished"):
            assert output(sh("jobqueuectl", "run", name, "--wait").strip()) == "good\n"
    assert [str(JOBS / "broken.yaml")] == status()["stale"]
    (JOBS / "broken.yaml").unlink()
    until("the other is read", lambda: "half" in json.dumps(ctl("show", "unfinished")["definition"]))


def test_a_mount_over_the_directory_is_seen() -> None:
    """The sandboxed daemon sees what is mounted over its directory, and what comes back."""
    other = Path("/run/other")
    other.mkdir()
    (other / "mounted.yaml").write_text("jobs:\n  mounted:\n    command: exit 0\n")
    sh("mount", "--bind", str(other), str(JOBS))
    try:
        until("the mounted jobs are there, the others gone", lambda: [job["id"] for job in jobs()] == ["mounted"])
    finally:
        sh("umount", str(JOBS))
    until("they are back", lambda: {"hello", "minutely"} <= {job["id"] for job in jobs()})


def test_a_launcher_that_dies_again_and_again_comes_back() -> None:
    """Neither the service nor its socket runs into a start limit."""
    for _ in range(8):
        kill_main("KILL", "jobqueued-launcher")
        sh("jobqueuectl", "run", "hello", "--wait")
    assert sh("systemctl", "list-units", "--failed", "--no-legend", "jobqueue*") == ""


def test_empty_scopes_go_away() -> None:
    """Each launcher has a scope of its own; only the newest is left when no run is live."""
    scopes = ("systemctl", "list-units", "--no-legend", "--plain", "jobqueue-*.scope")
    until("one scope is left", lambda: len(sh(*scopes).splitlines()) == 1)


def test_the_scheduler_is_hardened() -> None:
    """`systemd-analyze security`: an exposure of at most 1.3."""
    sh("systemd-analyze", "security", "--threshold=13", "--no-pager", "jobqueued.service")


def test_a_stop_is_clean() -> None:
    """Stopped, it leaves no failed unit, and an end line."""
    sh("systemctl", "stop", "jobqueued", "jobqueued-launcher.socket")
    assert any(entry["MESSAGE"].startswith("Stopped jobqueued.service") for entry in journal()[-2:])
    assert sh("systemctl", "list-units", "--failed", "--no-legend", "jobqueue*") == ""
