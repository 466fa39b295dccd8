"""Processes on a real system: what a command gets beside what cron gives, and that nothing of an ended run is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vm import JOBS, LOGS, ctl, output, record_file, sh, start, state, status, story, until

LOOK = """#!/bin/sh
exec >$1 2>&1
id -un; id -gn; id -Gn
umask; pwd
readlink /proc/$$/fd/0
ls -vxw0 /proc/$$/fd
cut -d' ' -f5,6,7,19 /proc/$$/stat
grep -E '^(SigBlk|SigIgn|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\n\\t' '  '; echo
cat /proc/$$/oom_score_adj; ulimit -Sn; ulimit -Hn
cat /proc/$$/cgroup
echo "leader $$ $(cut -d' ' -f6 /proc/$$/stat)"
env | sort
"""

JOB_FILE = """
jobs:
  looker: {command: [look, /run/look/job], user: alice}
  rich:
    command: cat /proc/self/oom_score_adj; cut -d' ' -f19 /proc/self/stat
    user: alice
    oom_score_adj: -500
    nice: -7
  limited: {command: [cat, /proc/self/limits], user: alice, resource_limits: {open_files: 1000000, core: unlimited}}
  daemonizing:
    command: setsid sh -c 'trap "" TERM; echo $$ >/run/look/daemon; while :; do sleep 600; done' & sleep 0.5
    user: alice
    kill_grace: 1s
  leaving:
    command: (setsid sh -c 'echo $$ >/run/look/left; exec sleep 600' &); sleep 0.5
    leave_children: true
  stoppable:
    command: |
      echo $$ >/run/look/stoppable
      setsid sleep 601 & sleep 602
"""


@pytest.fixture(scope="module", autouse=True)
def daemon() -> Iterator[None]:
    """A user with a group beyond the own one, a directory for notes, and the jobs."""
    sh("useradd", "--create-home", "--groups", "games", "alice")
    look = Path("/usr/bin/look")
    look.write_text(LOOK)
    look.chmod(0o755)
    Path("/run/look").mkdir(mode=0o777)
    Path("/run/look").chmod(0o777)
    start(JOB_FILE)
    yield
    sh("systemctl", "stop", "cron")


def finished(job: str, *options: str) -> str:
    return sh("jobqueuectl", "run", job, *options, "--wait").strip()


def pid_in(name: str) -> int:
    return int(until(name, lambda: (Path("/run/look") / name).exists() and (Path("/run/look") / name).read_text()))


def below_the_scopes() -> list[str]:
    """The command lines in the scopes of runs that are no launcher's or supervisor's."""
    found = []
    for procs in Path("/sys/fs/cgroup/jobqueue.slice").rglob("cgroup.procs"):
        for pid in procs.read_text().split():
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            found += [] if "launcher.py" in line or line.startswith("jq-supervisor ") else [line]
    return found


def test_what_a_command_gets_beside_cron() -> None:
    """The table in jobqueue.d(5), looked at from within: ours, and cron's on the same machine."""
    finished("looker")
    Path("/etc/cron.d/looker").write_text("* * * * * alice look /run/look/cron\n")
    sh("systemctl", "stop", "cron")
    sh("date", "--set", time.strftime("%Y-%m-%d %H:%M:57"))
    sh("systemctl", "start", "cron")
    until("cron's job", lambda: Path("/run/look/cron").exists() and "SHELL" in Path("/run/look/cron").read_text())
    ours, crons = (Path(f"/run/look/{name}").read_text().splitlines() for name in ("job", "cron"))
    assert ours[:6] == ["alice", "alice", "alice games", "0022", "/home/alice", "/dev/null"]
    assert [*crons[:3], crons[3], crons[4]] == [*ours[:3], "0002", ours[4]], "pam_umask: the user's group is private"
    assert crons[5].startswith("pipe:")
    assert ours[6].split() == crons[6].split() == ["0", "1", "2", "10"], "10 is the shell's own, for the script"
    assert ours[7].split()[2:] == crons[7].split()[2:] == ["0", "0"], "no terminal, nice 0"
    assert ours[8] == crons[8], "signals, capabilities, NoNewPrivs, seccomp"
    assert ours[9:11] == crons[9:11] == ["0", "1024"]
    assert ours[12].startswith("0::/jobqueue.slice/jobqueue-")
    assert crons[12] == "0::/system.slice/cron.service"
    assert len({ours[13].split()[1], ours[13].split()[2]}) == 1, "it leads its session"
    env = dict(line.split("=", 1) for line in ours[14:])
    assert {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/home/alice",
        "SHELL": "/bin/sh", "LOGNAME": "alice", "USER": "alice", "LANG": "C.UTF-8", "PWD": "/home/alice",
        "JOBQUEUE_JOB": "looker", "JOBQUEUE_RUN": "looker@1", "JOBQUEUE_ATTEMPT": "1",
        "JOBQUEUE_DUE": env["JOBQUEUE_DUE"], "JOBQUEUE_INVOCATION_ID": env["JOBQUEUE_INVOCATION_ID"],
        "JOBQUEUE_TRIGGER": "manual", "TRACEPARENT": env["TRACEPARENT"],
    } == env  # fmt: skip
    assert {"PATH=/usr/bin:/bin", "HOME=/home/alice", "LOGNAME=alice", "SHELL=/bin/sh"} <= set(crons[14:])


def test_what_only_root_can_give() -> None:
    """It is given before the change of user: a protected score, a negative nice, limits above the usual."""
    assert output(finished("rich")).split() == ["-500", "-7"]
    run = finished("limited")
    lines = {line[:26].strip(): line[26:].split()[:2] for line in output(run).splitlines()}
    assert lines["Max open files"] == ["1000000", "1000000"]
    assert lines["Max core file size"] == ["unlimited", "unlimited"]


def test_nothing_of_an_ended_run_is_left() -> None:
    """Not even what daemonised and ignores SIGTERM: neither the process nor anything in the scopes."""
    run = finished("daemonizing")
    record = record_file(run)
    assert record["state"] == "succeeded"
    assert record["warnings"][1] == "did not end on SIGTERM: SIGKILL after 1 s"
    with pytest.raises(ProcessLookupError):
        os.kill(pid_in("daemon"), 0)
    assert below_the_scopes() == []
    assert [line["JOBQUEUE_EVENT"] for line in story(run)] == ["run_started", "run_stopping", "run_ended"]


def test_what_may_be_left_survives_everything() -> None:
    """It is named by `status`, through restarts of daemon and launcher, until it ends; nothing waits for it."""
    run = finished("leaving")
    pid = pid_in("left")
    assert status()["left"] == [run]
    sh("systemctl", "restart", "jobqueued-launcher", "jobqueued")
    sh("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "jobqueued-launcher")
    until("the launcher is back", lambda: state("jobqueued-launcher", "SubState") == "running")
    finished("looker")
    os.kill(pid, 0)
    assert status()["left"] == [run]
    os.kill(pid, signal.SIGKILL)
    until("it is gone", lambda: status()["left"] == [])
    until("and its scope", lambda: len(list(Path("/sys/fs/cgroup/jobqueue.slice").glob("*.scope"))) == 1)


@pytest.mark.parametrize(
    "restarted", [(), ("jobqueued",), ("jobqueued-launcher",), ("jobqueued", "jobqueued-launcher")]
)
def test_a_stop_reaches_all_of_a_run(restarted: tuple[str, ...]) -> None:
    """Whichever scheduler and launcher are there by now: its supervisor ends session and children."""
    (Path("/run/look") / "stoppable").unlink(missing_ok=True)
    run = sh("jobqueuectl", "run", "stoppable").strip()
    pid = pid_in("stoppable")
    if restarted:
        sh("systemctl", "restart", *restarted)
    sh("varlinkctl", "call", "/run/jobqueue/control", "io.jobqueue.Stop", f'{{"run": "{run}"}}')
    until("its end is told", lambda: "run_ended" in [line["JOBQUEUE_EVENT"] for line in story(run)])
    record = ctl("show", run)
    assert (record["state"], record["reason"], record["signal"], record["pid"]) == (
        "killed",
        "stopped by root",
        15,
        pid,
    )
    assert record == record_file(run)
    assert below_the_scopes() == []


def test_files_of_a_users_job() -> None:
    """Its record and its output are root's, whatever its umask."""
    (JOBS / "umask.yaml").write_text("jobs: {masked: {command: echo secret, user: alice, umask: '0000'}}\n")
    sh("systemctl", "reload", "jobqueued")
    base = f"{LOGS}/{finished('masked').replace('@', '/')}"
    owners = sh("stat", "--format=%U:%G %a", f"{base}.json", f"{base}.log")
    assert owners.splitlines() == ["root:jobqueue 640"] * 2
