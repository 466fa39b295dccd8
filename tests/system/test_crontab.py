"""crontab(1) as installed: of an ordinary user, by the scheduler in its sandbox and the launcher outside of it."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from tests.system.vm import jobs, journal, sh, start, status, until

PROGRAM = "/usr/lib/jobqueued/crontab"
SPOOL = Path("/var/spool/cron/crontabs")
TABLE = "* * * * * id -un\n"


@pytest.fixture(scope="module", autouse=True)
def started() -> None:
    """A host with Debian's cron, switched off: a user, the drop-in for crontabs, and the key that runs them."""
    sh("systemctl", "disable", "--now", "cron")
    sh("useradd", "--create-home", "alice")
    sh("install", "-Dm644", "systemd/cron.conf", "-t", "/etc/systemd/system/jobqueued.service.d")
    Path("/etc/jobqueued.yaml").write_text("cron: {live: true}\n")
    sh("systemctl", "daemon-reload")
    start("jobs: {}")


def of_alice(*words: str, text: str = "", **environment: str) -> tuple[int, str, str]:
    """What the program says to alice."""
    done = subprocess.run(
        ["runuser", "-u", "alice", "--", PROGRAM, *words], input=text, capture_output=True, text=True, timeout=60,
        check=False, env={**os.environ, **environment}, cwd="/",
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def names() -> list[str]:
    return [job["id"] for job in jobs() if job["id"].startswith("crontabs/alice:")]


def test_a_users_day() -> None:
    """A table is installed, runs as its user, is edited, and is gone; nobody else can read it, nor the spool."""
    assert (1, "", "no crontab for alice\n") == of_alice("-l")
    assert (0, "", "") == of_alice("-", text=TABLE)
    assert (0, TABLE, "") == of_alice("-l")
    modes = sh("stat", "--format=%U:%G %a", str(SPOOL), str(SPOOL / "alice")).splitlines()
    assert ["root:crontab 1730", "alice:crontab 600"] == modes
    (name,) = until("alice's job", names)
    sh("date", "--set", sh("date", "+%F %H:%M:58").strip())
    until("its run", lambda: [line for line in journal(f"JOBQUEUE_JOB={name}") if line["MESSAGE"] == "alice"])
    editor = "sed -i s/id/whoami\\;id/"
    assert (0, "", "crontab: installing new crontab\n") == of_alice("-e", EDITOR=editor, VISUAL="")
    until("the other job", lambda: names() not in ([name], []))
    assert (1, "", "must be privileged to use -u\n") == of_alice("-u", "root", "-l")
    assert (0, "", "") == of_alice("-r")
    until("no job", lambda: not names())


def test_where_it_runs() -> None:
    """A run of alice's crontab is in the cgroup that has all of alice's runs, with the default limits."""
    directory = '"/sys/fs/cgroup$(dirname "$(cut -d: -f3- /proc/self/cgroup)")"'
    line = f"@daily cat /proc/self/cgroup; cd {directory} && echo limits $(cat memory.max memory.swap.max pids.max)\n"
    assert (0, "", "") == of_alice("-", text=line)
    (name,) = until("alice's job", names)
    sh("jobqueuectl", "run", name)
    place = f"/u{pwd.getpwnam('alice').pw_uid}/crontabs+alice:"
    until("its run", lambda: [line for line in journal(f"JOBQUEUE_JOB={name}") if place in line["MESSAGE"]])
    (limits,) = until("its limits", lambda: [
        line["MESSAGE"] for line in journal(f"JOBQUEUE_JOB={name}") if line["MESSAGE"].startswith("limits ")
    ])  # fmt: skip
    total = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    tasks = min(int(Path(f"/proc/sys/kernel/{file}").read_text()) for file in ("pid_max", "threads-max"))
    page = os.sysconf("SC_PAGE_SIZE")
    assert f"limits {total * 4 // 5 // page * page} max {tasks // 3}" == limits
    assert (0, "", "") == of_alice("-r")
    until("no job", lambda: not names())


def test_debians_crontab_beside_it() -> None:
    """Each finds what the other has stored, byte for byte, comments at the top too."""
    table = f"# mine\n# too\n# and this\n# last\n{TABLE}"
    debians = ["runuser", "-u", "alice", "--", "/usr/bin/crontab"]
    assert (0, "", "") == of_alice("-", text=table)
    assert table == sh(*debians, "-l")
    subprocess.run([*debians, "-"], input=f"# new\n{table}", text=True, check=True, timeout=60)
    assert (0, f"# new\n{table}", "") == of_alice("-l")
    assert (0, "", "") == of_alice("-r")
    assert 1 == subprocess.run([*debians, "-l"], check=False, timeout=60).returncode


def test_root_needs_no_daemon() -> None:
    """As in a maintainer script; what was stored meanwhile runs with the next start, and survives a restart."""
    sh("systemctl", "stop", "jobqueued", "jobqueued-launcher.socket")
    assert 1 == of_alice("-l")[0]
    sh("sh", "-c", f"echo '@daily true' | {PROGRAM} -u alice -")
    assert "@daily true\n" == sh(PROGRAM, "-u", "alice", "-l")
    sh("systemctl", "start", "jobqueued")
    until("alice's job", names)
    assert "@daily true\n" == of_alice("-l")[1]
    assert [] == status()["problems"]


def test_a_full_disk() -> None:
    """The old table stays, and the edit is kept; nothing is left in the spool."""
    sh("mount", "-t", "tmpfs", "-o", "size=64k,mode=1730", "tmpfs", str(SPOOL))
    try:
        assert (0, "", "") == of_alice("-", text=TABLE)
        editor = Path("/tmp/editor")
        much = 'head -c 80000 /dev/zero | tr \\\\0 x | fold -w 999 | sed s/^/#/ >>"$1"; echo >>"$1"'
        editor.write_text(f"#!/bin/sh\n{much}\n")
        editor.chmod(0o755)
        status, _, err = of_alice("-e", EDITOR=str(editor), VISUAL="")
        lines = err.splitlines()
        assert (1, f"crontab: refused: {SPOOL}: No space left on device") == (status, lines[1])
        kept = Path(lines[2].removeprefix("crontab: edits left in "))
        assert kept.read_text().startswith(TABLE)
        assert (TABLE, ["alice"]) == (of_alice("-l")[1], os.listdir(SPOOL))
    finally:
        sh("umount", str(SPOOL))
