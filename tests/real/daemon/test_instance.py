"""Which daemon is meant: the system's, a user's own, or one below a root, and what remedies say of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from jobqueued.ctl.main import main
from jobqueued.settings import instance
from jobqueued.settings.instance import Instance, program
from jobqueued.settings.paths import NoPlace, Paths
from jobqueued.settings.settings import read_settings
from tests.support import REPO
from tests.support.client import run
from tests.support.host import wait_for
from tests.support.users import ME, NEEDS_USER, ROOT

US = 65534 if ROOT else os.geteuid()
NAME = "nobody" if ROOT else ME.pw_name


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime directory of an ordinary user, whose variables tell of it and of nothing else."""
    place = tmp_path / "runtime"
    place.mkdir(mode=0o700)
    if ROOT:
        os.chown(place, US, US)
        monkeypatch.setattr(os, "geteuid", lambda: US)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return place


def refusal(**variables: str) -> str:
    """The reason why a user can have no instance."""
    with pytest.raises(NoPlace) as refused:
        Paths.user({"HOME": "/home/alice", **variables})
    return str(refused.value)


class TestPaths:
    def test_usual(self, runtime: Path, tmp_path: Path) -> None:
        """Below the home directory, as the XDG Base Directory Specification has it; a relative path counts as none."""
        home, run = tmp_path / "home", runtime / "jobqueue"
        state = home / ".local/state/jobqueue"
        usual = Paths.user({**os.environ, "XDG_STATE_HOME": "state"})
        assert (home / ".config/jobqueued.yaml", home / ".config/jobqueue.d", state, run, state / "logs") == (
            usual.config, usual.jobs, usual.state, usual.run, usual.logs,
        )  # fmt: skip
        assert (Path("/run/systemd/journal/socket"), runtime, Path("/")) == (usual.journal, usual.runtime, usual.host)

    def test_chosen(self, runtime: Path) -> None:
        """The variables count, and single options before them."""
        paths = Paths.user({**os.environ, "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"})
        assert ("/c/jobqueued.yaml", "/c/jobqueue.d", "/s/jobqueue/logs") == tuple(
            map(str, (paths.config, paths.jobs, paths.logs))
        )
        assert replace(Paths.user(), jobs=Path("/j")) == Paths.chosen(None, user=True, jobs=Path("/j"), run=None)

    @pytest.mark.parametrize("named", [{}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "run/user"}], ids=str)
    def test_no_runtime_directory(self, runtime: Path, named: dict[str, str]) -> None:
        """Nothing is guessed: it says what is missing, and how to have it."""
        said = refusal(**named)
        assert said.startswith("--user needs XDG_RUNTIME_DIR, which is not set to an absolute path; ")

    def test_another_users(self, runtime: Path, tmp_path: Path) -> None:
        """As su and sudo leave it, or of a user who has logged out."""
        assert "XDG_RUNTIME_DIR=/: " not in (said := refusal(XDG_RUNTIME_DIR="/"))
        assert said.startswith(f"XDG_RUNTIME_DIR=/ belongs to root, not to {NAME}; "), said
        gone = tmp_path / "gone"
        assert refusal(XDG_RUNTIME_DIR=str(gone)).startswith(f"XDG_RUNTIME_DIR={gone}: No such file or directory; ")

    def test_no_home(self, runtime: Path) -> None:
        """A relative one leads nowhere certain."""
        assert "set HOME or XDG_CONFIG_HOME" in refusal(HOME="here", XDG_RUNTIME_DIR=str(runtime))

    @pytest.mark.skipif(not ROOT, reason="needs root")
    def test_of_root(self) -> None:
        """Root has the system's; where --user was to choose runs, the option that does is named."""
        assert "--user is for ordinary users" in refusal(XDG_RUNTIME_DIR="/")
        assert "for the runs of a user: --of-user NAME" in run("history", "--user", NAME).stderr
        assert "--of-user" not in run("list", "--user").stderr


class TestRemedies:
    def test_of_the_system(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """It is a unit."""
        monkeypatch.setattr(instance, "BOOTED", tmp_path)
        it = Instance.of(Path("/run/jobqueue"))
        assert ("systemctl start jobqueued", "systemctl restart jobqueued") == (it.start, it.restart)
        assert ("see: journalctl -u jobqueued", "see: systemctl status jobqueued-launcher") == (
            it.see_log, it.see_launcher,
        )  # fmt: skip
        assert "start it: systemctl start jobqueued-launcher.socket" == it.start_launcher
        assert ("see: systemctl status jobqueued-fleet", "start it: systemctl start jobqueued-fleet.socket") == (
            it.see_agent, it.start_agent,
        )  # fmt: skip
        assert "jobqueuectl restart-launcher (live runs continue)" == it.renew

    def test_of_a_system_without_systemd(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """It is a program, started as docs/install.md has it."""
        monkeypatch.setattr(instance, "BOOTED", tmp_path / "none")
        it = Instance.of(Path("/run/jobqueue"))
        start = "jobqueued --detach --pid-file /run/jobqueued.pid"
        assert (start, f"stop it, then start it again with `{start}`") == (it.start, it.restart)
        assert ("jobqueuectl", "see its log") == (it.ctl, it.see_log)
        assert f"stop the daemon and the launcher, then start the daemon with `{start}`; live runs continue" == it.renew
        assert start in (REPO / "docs/install.md").read_text()

    def test_of_a_user(self, runtime: Path) -> None:
        """It is a unit of the user's manager, where there is one; else a program that was started with --user."""
        it = Instance.of(runtime / "jobqueue")
        assert ("jobqueued --user", "see its log") == (it.start, it.see_log)
        (runtime / "systemd").mkdir()
        it = Instance.of(runtime / "jobqueue")
        assert ("systemctl --user start jobqueued", "systemctl --user restart jobqueued") == (it.start, it.restart)
        assert ("see: journalctl --user -u jobqueued", "see: systemctl --user status jobqueued-launcher") == (
            it.see_log, it.see_launcher,
        )  # fmt: skip
        assert "start it: systemctl --user start jobqueued-launcher.socket" == it.start_launcher
        assert "jobqueuectl --user restart-launcher (live runs continue)" == it.renew

    def test_a_restart_of_the_launcher(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It asks the manager for both units, and says what failed; below a root it says what is to be done."""
        manager = tmp_path / "manager"
        manager.write_text(f"#!/bin/sh\necho $* >>{tmp_path}/asked\ntest $1 = restart\n")
        manager.chmod(0o755)
        called = partial(CliRunner().invoke, main, ["--root", str(tmp_path), "restart-launcher"])
        assert "Error: no service manager runs this daemon; stop the daemon and the launcher" in called().output
        monkeypatch.setattr(Instance, "of", lambda run: Instance(run, str(manager)))
        done = called()
        assert (2, f"Error: {manager} start jobqueued.service failed; see: journalctl -u jobqueued\n") == (
            done.exit_code,
            done.output,
        )
        sockets = "jobqueued-launcher.socket jobqueued-fleet.socket"
        assert f"restart {sockets}\nstart jobqueued.service\n" == (tmp_path / "asked").read_text()

    def test_below_a_root(self, tmp_path: Path) -> None:
        """It is no unit; the command that starts it has the paths that it had."""
        replace(Paths.under(tmp_path), jobs=Path("/some jobs"), run=tmp_path / "run").make_run()
        it = Instance.of(tmp_path / "run")
        assert f"jobqueued --root {tmp_path} --jobs '/some jobs'" == it.start
        assert f"stop it, then start it again with `{it.start}`" == it.restart
        assert f"jobqueued --run {tmp_path}/x" == Instance.of(tmp_path / "x").start
        words = (it.start, it.restart, it.renew, it.see_log, it.see_launcher, it.start_launcher)
        assert [] == [word for word in words if "systemctl" in word or "journalctl" in word]


class TestSettings:
    def test_of_the_host(self, tmp_path: Path) -> None:
        """What is about other users and hosts is in no user's own settings; a misspelt key is told beside it."""
        file = tmp_path / "jobqueued.yaml"
        file.write_text("max_running: 2\ncron: {live: true}\nusers: {}\nreaderz: x\nfleet: {etcd: https://a}\n")
        settings, problems = read_settings(file, of_user=True)
        assert (2, {}, None) == (settings.max_running, settings.cron, settings.fleet)
        found = "found a setting of the host; expected the file without this key"
        assert [f"2:1: cron: {found}", f"3:1: users: {found}", f"5:1: fleet: {found}"] == [
            str(problem).removeprefix(f"{file}:").partition(",")[0] for problem in problems[:3]
        ]
        assert "readerz" == problems[3].key
        assert ["readerz"] == [problem.key for problem in read_settings(file)[1]], "the host's file may have them"


class TestClient:
    def test_one_of_both(self, runtime: Path, tmp_path: Path) -> None:
        """--root and --user can't be combined; what is typed wins over what a variable says."""
        done = run("--root", tmp_path, "list", "--user")
        assert (2, "--root and --user can't be combined." in done.stderr) == (done.returncode, True)
        both = run("list", JOBQUEUE_ROOT=str(tmp_path), JOBQUEUE_USER="1")
        assert (2, "JOBQUEUE_ROOT and JOBQUEUE_USER can't be combined." in both.stderr) == (both.returncode, True)
        typed = run("--root", tmp_path, "list", JOBQUEUE_USER="1").stderr
        assert f"cannot reach the daemon at {tmp_path}/run/control" in typed
        lost = run("list", "--user", JOBQUEUE_ROOT=str(tmp_path))
        assert (2, "--user " in lost.stderr) == (lost.returncode, True)
        assert lost.stderr == run("list", JOBQUEUE_USER="yes").stderr

    def test_no_crontabs(self, runtime: Path) -> None:
        """A user's own instance has none to install."""
        env = {"XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)}
        done = run("--user", "crontab", "-l", **env)
        remedy = "crontab -l | jobqueuectl --user import --kind user --write -"
        assert (2, True) == (done.returncode, remedy in done.stderr)


@NEEDS_USER
def test_a_daemon(runtime: Path, tmp_path: Path) -> None:
    """Without systemd, too: it makes its directories, for nobody else; its jobs know the runtime directory."""
    (home := tmp_path / "home").mkdir()
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    with open(tmp_path / "log", "wb") as log:
        words = [sys.executable, "-m", "jobqueued", "--user", "--log", "json"]
        daemon = subprocess.Popen(words, env=env, stderr=log)
    try:
        wait_for(lambda: (runtime / "jobqueue/control").exists() or daemon.poll() is not None)
        assert daemon.poll() is None, (tmp_path / "log").read_text()
        jobs, state = home / ".config/jobqueue.d", home / ".local/state/jobqueue"
        assert {0o700} == {path.stat().st_mode & 0o777 for path in (jobs, home / ".config", state, state / "logs")}
        (jobs / "a.yaml").write_text("jobs: {where: {command: echo $XDG_RUNTIME_DIR}}")
        ours = {"XDG_RUNTIME_DIR": str(runtime), "HOME": str(home)}
        assert "1 job" in run("--user", "reload", **ours).stdout
        done = run("--user", "run", "--wait", "where", **ours)
        assert f"{runtime}\n" == (state / "logs/where/1.log").read_text(), done.stderr
        (home / ".config/jobqueued.yaml").write_text("max_running: 5\n")
        assert "stop it, then start it again with `jobqueued --user`" in run("--user", "reload", **ours).stdout
    finally:
        daemon.terminate()
        daemon.wait(30)


_WAITS = """
import sys
from jobqueued.child.attempt.shutdown import Shutdown
shutdown = Shutdown(int(sys.argv[1]))
print("ready", flush=True)
while sys.stdin.readline():
    print(shutdown.began(30 * (sys.argv[2] == "True")), flush=True)
"""


def test_a_program_as_it_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name where the shell finds it, else by its path beside the one that runs."""
    (tmp_path / "jobqueued").touch()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "jobqueuectl")])
    monkeypatch.setenv("PATH", "/nowhere")
    assert [str(tmp_path / "jobqueued"), "jobqueuectl"] == [program("jobqueued"), program("jobqueuectl")]
    (tmp_path / "jobqueued").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "jobqueued" == program("jobqueued")


@pytest.mark.parametrize("is_manager", [True, False])
def test_the_end_of_a_session(is_manager: bool) -> None:
    """SIGTERM from the manager of a user, which has started the launcher, is the shutdown of its runs; no other is."""
    words = [sys.executable, "-c", _WAITS, str(os.getpid() if is_manager else 1), str(is_manager)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPO) as waits:
        assert waits.stdin is not None
        assert waits.stdout is not None
        assert "ready\n" == waits.stdout.readline()
        waits.send_signal(signal.SIGTERM)
        print("?", file=waits.stdin, flush=True)
        assert f"{is_manager}\n" == waits.stdout.readline()
