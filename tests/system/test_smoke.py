"""The daemon as an administrator has it: installed by `make install`, started by systemd, read with journalctl."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.system.vm import (
    JOBS,
    LOGS,
    ctl,
    jobs,
    journal,
    output,
    record_file,
    sh,
    start,
    state,
    status,
    story,
    until,
)

JOB_FILE = """
jobs:
  hello:
    command: echo hello; exit 3
    success_codes: [3]
  minutely:
    command: [/bin/true]
    schedule: "* * * * *"
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
    assert "3 jobs" in state("jobqueued", "StatusText"), "start returned before READY"


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


def test_reload_returns_when_new_files_are_read() -> None:
    """`systemctl reload` is done when a file dropped before it counts, and one that was removed does not; it fails, and
    the journal tells why, if a file is refused: the daemon goes on."""
    (JOBS / "dropped.yaml").write_text("jobs:\n  dropped:\n    command: exit 0\n")
    sh("systemctl", "reload", "jobqueued")
    sh("jobqueuectl", "run", "dropped", "--wait")
    pid = sh("systemctl", "show", "--value", "--property=MainPID", "jobqueued")
    (JOBS / "dropped.yaml").write_text("jobs:\n  dropped:\n    comand: exit 0\n")
    with pytest.raises(AssertionError, match="systemctl reload jobqueued: exit code 1"):
        sh("systemctl", "reload", "jobqueued")
    assert pid == sh("systemctl", "show", "--value", "--property=MainPID", "jobqueued")
    until("why", lambda: "dropped.yaml:3:5: dropped: comand: " in sh("journalctl", "--identifier=jobqueuectl"))
    (JOBS / "dropped.yaml").unlink()
    sh("systemctl", "reload", "jobqueued")
    with pytest.raises(AssertionError, match="no such job: dropped"):
        sh("jobqueuectl", "show", "dropped")


def test_a_user_that_comes_later_is_found() -> None:
    """A job of an unknown user is Invalid, and runs as that user once there is one and it is asked for."""
    (JOBS / "late.yaml").write_text("jobs:\n  late:\n    command: id -un\n    user: latecomer\n")
    until("it is Invalid", lambda: {"late": "Invalid"}.items() <= {job["id"]: job["status"] for job in jobs()}.items())
    sh("useradd", "--system", "latecomer")
    with pytest.raises(AssertionError, match="the daemon checks it again"):
        sh("jobqueuectl", "run", "late", "--wait")
    until("it is valid", lambda: "Invalid" not in {job["status"] for job in jobs() if job["id"] == "late"})
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


def test_the_scheduler_is_hardened() -> None:
    """`systemd-analyze security`: an exposure of at most 1.3."""
    sh("systemd-analyze", "security", "--threshold=13", "--no-pager", "jobqueued.service")


def test_a_stop_is_clean() -> None:
    """Stopped, it leaves no failed unit, and an end line."""
    sh("systemctl", "stop", "jobqueued", "jobqueued-launcher.socket")
    assert any(entry["MESSAGE"].startswith("Stopped jobqueued.service") for entry in journal()[-2:])
    assert sh("systemctl", "list-units", "--failed", "--no-legend", "jobqueue*") == ""
