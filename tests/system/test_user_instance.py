"""A user's own instance, as units of the user's manager, which lingers: no session is needed, and no root."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.system.vm import DEADLINE, sh, state, until

JOB_FILE = """
jobs:
  where: {command: 'echo $XDG_RUNTIME_DIR; cat /proc/self/cgroup; systemctl --user is-active jobqueued'}
  capped: {command: sleep 0.1, resource_limits: {memory: 64M, tasks: 20}, enforce: required}
  eats:
    command: [/usr/bin/python3, -c, "import time; x = bytearray(120 << 20); time.sleep(600)"]
    resource_limits: {memory: 50M}
  long: {command: "echo $$ >~/pid; until [ -e ~/go ]; do sleep 0.05; done; exit 7"}
  endless: {command: "echo $$ >~/pid; exec sleep 600"}
"""


class User:
    """Alice, and what her programs say."""

    def __init__(self) -> None:
        entry = pwd.getpwnam("alice")
        self.uid, self.home = entry.pw_uid, Path(entry.pw_dir)
        self.runtime = Path(f"/run/user/{self.uid}")
        self.manager = f"user@{self.uid}.service"

    def told(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"XDG_RUNTIME_DIR": str(self.runtime), "HOME": str(self.home), **variables}
        words = ["runuser", "-u", "alice", "--", "env", *(f"{name}={value}" for name, value in env.items()), *command]
        return subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=DEADLINE, check=False)

    def __call__(self, *command: str) -> str:
        done = self.told(*command)
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def ctl(self, *words: str) -> Any:
        return json.loads(self.told("jobqueuectl", "--user", *words, "--json").stdout)

    def findings(self) -> dict[str, str]:
        """What doctor says of each subject last."""
        found = self.ctl("doctor")["findings"]
        return {it["what"]: f"{it['verdict']}: {it['seen']} → {it['remedy']}" for it in found}

    def live(self, job: str) -> tuple[str, int]:
        """A run that lives, and its pid."""
        (self.home / "pid").unlink(missing_ok=True)
        run = self("jobqueuectl", "--user", "run", job)
        return run, int(until("it runs", lambda: (self.home / "pid").exists() and (self.home / "pid").read_text()))

    def finished(self, job: str) -> Any:
        """The record of a run."""
        run = self("jobqueuectl", "run", "--user", job)
        return json.loads(until(f"{run} ends", lambda: self.record(run)))

    def record(self, run: str) -> str:
        file = self.home / ".local/state/jobqueue/logs" / f"{run.replace('@', '/')}.json"
        return file.read_text() if file.exists() else ""

    def show(self, unit: str, name: str) -> str:
        return self("systemctl", "--user", "show", f"--property={name}", "--value", unit)

    def is_ready(self) -> bool:
        return self.told("systemctl", "--user", "is-active", "jobqueued").stdout == "active\n"

    def kill_main(self, unit: str) -> None:
        before = self.show(unit, "MainPID")
        os.kill(int(before), 9)
        until(f"a new {unit}", lambda: self.show(unit, "MainPID") not in (before, "0") and self.is_ready())


@pytest.fixture(scope="module")
def alice() -> User:
    """Her instance, which she has enabled."""
    for name in ("alice", "bob"):
        sh("useradd", "--create-home", name)
    sh("loginctl", "enable-linger", "alice")
    user = User()
    until("her manager is there", lambda: state(user.manager, "ActiveState") == "active")
    user("mkdir", "-p", str(user.home / ".config/jobqueue.d"))
    (user.home / ".config/jobqueue.d/a.yaml").write_text(JOB_FILE)
    sh("chown", "alice:", str(user.home / ".config/jobqueue.d/a.yaml"))
    user("systemctl", "--user", "enable", "--now", "jobqueued")
    return user


def test_a_job(alice: User) -> None:
    """It runs in her slice, in a cgroup of its own, and reaches her manager; her journal has its output and its end."""
    assert alice.finished("where")["state"] == "succeeded"
    output = (alice.home / ".local/state/jobqueue/logs/where/1.log").read_text().splitlines()
    assert (output[0], output[2]) == (str(alice.runtime), "active")
    assert f"/{alice.manager}/jobqueue.slice/jobqueue-" in output[1]
    assert output[1].endswith(".scope/where@1.1")
    sh("journalctl", "--sync")
    assert f"{alice.runtime}\n" in alice("journalctl", "-o", "cat", "-t", "where", "JOBQUEUE_RUN=where@1")
    assert "where@1 succeeded" in alice("journalctl", "-o", "cat", "_SYSTEMD_USER_UNIT=jobqueued.service")


def test_limits(alice: User) -> None:
    """What her manager delegates is enforced; doctor says what is not, and who can change that."""
    controllers = alice.ctl("status")["controllers"]
    assert {"memory", "pids"} <= set(controllers)
    record = alice.finished("capped")
    assert (record["state"], set(record["enforced"].values())) == ("succeeded", {"cgroup"})
    record = alice.finished("eats")
    assert record["reason"].startswith("out of memory: its limit is 50 MiB (memory.events: oom_kill ")
    told = alice.findings()
    lost = f"warning: runs have the controllers {', '.join(controllers)}; no io: io_read and io_write are not enforced"
    assert lost in told["cgroups"]
    assert "as root: systemctl edit user@.service" in told["cgroups"]
    assert told["linger"].startswith("ok: on for alice: ")


def test_a_run_goes_on(alice: User) -> None:
    """Whatever becomes of scheduler and launcher."""
    run, pid = alice.live("long")
    alice("systemctl", "--user", "restart", "jobqueued")
    alice.kill_main("jobqueued")
    alice.kill_main("jobqueued-launcher")
    alice("systemctl", "--user", "restart", "jobqueued-launcher.socket", "jobqueued")
    assert alice.finished("capped")["state"] == "succeeded"
    os.kill(pid, 0)
    alice("touch", str(alice.home / "go"))
    record = json.loads(until("its record", lambda: alice.record(run)))
    assert (record["state"], record["exit_code"], record["pid"]) == ("failed", 7, pid)


def test_remedies_name_her_units(alice: User) -> None:
    """A reload by systemctl is one; stopped, and with other settings, what to do is said for this instance."""
    file = alice.home / ".config/jobqueue.d/b.yaml"
    file.write_text("jobs: {b: {comand: x}}")
    sh("chown", "alice:", str(file))
    assert alice.told("systemctl", "--user", "reload", "jobqueued").returncode == 1
    file.unlink()
    settings = alice.home / ".config/jobqueued.yaml"
    settings.write_text("max_running: 8\n")
    sh("chown", "alice:", str(settings))
    alice("systemctl", "--user", "reload", "jobqueued")
    told = alice.told("jobqueuectl", "--user", "reload")
    assert "to apply the changes: systemctl --user restart jobqueued (live runs continue)" in told.stdout + told.stderr
    alice("systemctl", "--user", "stop", "jobqueued")
    down = alice.told("jobqueuectl", "--user", "status")
    assert (down.returncode, "(`systemctl --user start jobqueued`)" in down.stderr) == (2, True), down.stderr
    as_root = ["jobqueuectl", "--run", str(alice.runtime / "jobqueue"), "status"]
    from_root = subprocess.run(as_root, capture_output=True, text=True, check=False).stderr
    assert "(`systemctl --user -M alice@ start jobqueued`)" in from_root
    alice("systemctl", "--user", "start", "jobqueued")


def test_only_she_gets_there(alice: User) -> None:
    """Others have no way to it; as root, or in an environment of somebody else, it is said what is wrong."""
    bob = ["runuser", "-u", "bob", "--", "jobqueuectl", "--run", str(alice.runtime / "jobqueue"), "list"]
    assert "permission denied" in subprocess.run(bob, capture_output=True, text=True, check=False).stderr
    lost = alice.told("jobqueuectl", "--user", "list", XDG_RUNTIME_DIR="")
    assert (lost.returncode, f"set it as a login does: export XDG_RUNTIME_DIR={alice.runtime}" in lost.stderr) == (
        2,
        True,
    )
    stranger = ["runuser", "-u", "bob", "--", "env", f"XDG_RUNTIME_DIR={alice.runtime}", "jobqueued", "--user"]
    done = subprocess.run(stranger, capture_output=True, text=True, check=False)
    assert (done.returncode, "loginctl enable-linger bob" in done.stderr) == (1, True), done.stderr
    done = subprocess.run(["jobqueued", "--user"], capture_output=True, text=True, check=False)
    assert (done.returncode, "--user is for ordinary users" in done.stderr) == (1, True)


def test_linger(alice: User) -> None:
    """Without it her manager ends at the logout: so do the runs, with a record; with it all is back at once."""
    run, _pid = alice.live("endless")
    Path("/var/lib/systemd/linger/alice").unlink()
    told = alice.findings()["linger"]
    assert told.startswith("warning: off for alice: "), told
    assert told.endswith(" → loginctl enable-linger alice")
    sh("loginctl", "disable-linger", "alice")  # which is a logout, as she has no session
    until("her runtime directory is gone", lambda: not alice.runtime.exists())
    record = json.loads(until("the record", lambda: alice.record(run)))
    assert (record["state"], record["reason"]) == ("killed", "shutdown")
    sh("loginctl", "enable-linger", "alice")
    until("the instance is back", lambda: alice.runtime.exists() and alice.is_ready())
    shown = alice.ctl("show", run)
    assert shown == {**record, "schema": 1, "asked_by_name": shown["asked_by_name"]}
    assert alice.finished("capped")["state"] == "succeeded"
