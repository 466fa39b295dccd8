"""run, stop and reload as people run them, against a daemon that answers from a table."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.varlink import Message, VarlinkError
from jobqueued.ctl.base.terminal import localised
from tests.support.answers import (
    PROBLEM,
    RECORD,
    Daemon,
)
from tests.support.client import PROGRAM, environment, run
from tests.support.host import Host, wait_for


class TestRun:
    @pytest.mark.usefixtures("daemon")
    def test_run(self, tmp_path: Path) -> None:
        """The run's id is printed, nothing else."""
        shown = run("--root", tmp_path, "run", "nightly-backup")
        assert (0, "nightly-backup@142\n", "") == (shown.returncode, shown.stdout, shown.stderr)

    @pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("skipped", 1), ("lost", 1)])
    def test_wait(self, daemon: Daemon, tmp_path: Path, state: str, code: int) -> None:
        """--wait asks once and blocks until the run's end, which decides the exit status."""
        asked, ended = threading.Event(), threading.Event()

        def wait(_: Message) -> Message:
            asked.set()
            ended.wait(60)
            return {"record": {**RECORD, "state": state, "reason": None}}

        daemon.methods["Wait"] = wait
        command = [*PROGRAM, "--root", str(tmp_path), "run", "--wait", "nightly-backup"]
        with subprocess.Popen(
            command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program:
            assert asked.wait(60)
            assert program.poll() is None
            ended.set()
            stdout, stderr = program.communicate(timeout=60)
        assert ("nightly-backup@142\n", f"nightly-backup@142 {state} after 2 min 3 s\n") == (stdout, stderr)
        assert (code, ["Run", "Wait"]) == (program.returncode, daemon.calls)

    def test_daemon_stops(self, daemon: Daemon, tmp_path: Path) -> None:
        """If the daemon stops while it is waited for, the way to learn the end is told, with exit status 2."""

        def hang_up(_: Message) -> Message:
            raise EOFError

        daemon.methods["Wait"] = hang_up
        shown = run("--root", tmp_path, "run", "--wait", "nightly-backup")
        assert (2, True) == (shown.returncode, "`jobqueuectl show nightly-backup@142`" in shown.stderr)

    def test_run_inside_run(self, daemon: Daemon, tmp_path: Path) -> None:
        """A run may start another, but not wait for it."""
        shown = run("--root", tmp_path, "run", "--wait", "b", JOBQUEUE_RUN="a@1")
        assert (2, []) == (shown.returncode, daemon.calls)
        assert run("--root", tmp_path, "run", "b", JOBQUEUE_RUN="a@1").returncode == 0


class TestStop:
    @pytest.fixture
    def asked(self, daemon: Daemon) -> list[str]:
        """The runs that the daemon was asked to stop; it refuses nightly-backup@1."""
        runs: list[str] = []

        def stop(parameters: Message) -> Message:
            if parameters["run"].endswith("@1"):
                raise VarlinkError("Refused", {"reason": "it has ended: failed"})
            runs.append(parameters["run"])
            return {"state": "stopping"}

        daemon.methods["Stop"] = stop
        return runs

    @pytest.mark.parametrize(
        ("names", "runs", "code", "told"),
        [
            (["a@7"], ["a@7"], 0, ""),
            (["nightly-backup"], ["nightly-backup@143"], 0, ""),
            (["a@7", "a@1", "a@8"], ["a@7", "a@8"], 1, "Error: refused: it has ended: failed\n"),
        ],
        ids=str,
    )
    def test_stop(
        self, asked: list[str], tmp_path: Path, names: list[str], runs: list[str], code: int, told: str
    ) -> None:
        """Each run is stopped, of a job those that are live; one that can't be is told, and the others are stopped."""
        shown = run("--root", tmp_path, "stop", *names)
        assert (runs, "".join(f"{run} stopping\n" for run in runs)) == (asked, shown.stdout)
        assert (code, told) == (shown.returncode, shown.stderr)

    def test_nothing(self, asked: list[str], daemon: Daemon, tmp_path: Path) -> None:
        """Nothing of a job to be stopped is a no."""
        daemon.answers("History", {"runs": [RECORD], "next": None})
        shown = run("--root", tmp_path, "stop", "nightly-backup")
        told = "Error: nightly-backup has no live run; to stop a waiting run, name it: JOB@N\n"
        assert (1, "", told, []) == (shown.returncode, shown.stdout, shown.stderr, asked)

    def test_wait(self, host: Host) -> None:
        """--wait comes back when nothing of them is left, and tells how they ended: as was wanted, exit status 0."""
        host.write("a.yaml", "jobs: {a: {command: exec sleep 1000, concurrency: 2}}")
        host.start()
        runs = [host.run("a"), host.run("a")]
        wait_for(lambda: len(list(host.root.glob("run/runs/*/*/pid"))) == 2)
        shown = run("--root", host.root, "stop", "--wait", "a")
        assert (0, {f"{name} stopping" for name in runs}) == (shown.returncode, set(shown.stdout.splitlines()))
        ourselves = localised(Peer(os.geteuid(), frozenset()).name)
        verdicts = sorted(re.sub(" after .*:", ":", line) for line in shown.stderr.splitlines())
        assert [f"{name} killed: stopped by {ourselves}" for name in runs] == verdicts
        assert ["killed"] * 2 == [record["state"] for record in host.call("History", job="a")["runs"]]

    def test_a_waiting_run_does_not_get_what_a_stopped_run_frees(self, host: Host) -> None:
        """Of a live run and others that wait for it, the others never start, in whatever order they are named."""
        host.write("a.yaml", f"jobs: {{a: {{command: 'date >>{host.root}/started; exec sleep 1000'}}}}")
        host.start()
        runs = [host.run("a") for _ in range(3)]
        wait_for((host.root / "started").exists)
        shown = run("--root", host.root, "stop", "--wait", *runs)
        assert [f"{runs[1]} skipped", f"{runs[2]} skipped", f"{runs[0]} stopping"] == shown.stdout.splitlines()
        assert 1 == len((host.root / "started").read_text().splitlines())

    def test_a_newer_run_waits_for_its_next_attempt(self, host: Host) -> None:
        """The live run of the job is found."""
        command = "test $JOBQUEUE_RUN = a@1 && exec sleep 600; exit 3"
        host.write("a.yaml", f"jobs: {{a: {{command: '{command}', retries: 1, retry_delay: 1h, concurrency: 2}}}}")
        host.start()
        live, retried = host.run("a"), host.run("a")
        wait_for(lambda: host.call("Show", run=retried)["record"]["state"] == "retrying")
        shown = run("--root", host.root, "stop", "a")
        assert (0, f"{live} stopping\n") == (shown.returncode, shown.stdout), shown.stderr

    def test_what_has_ended_or_only_waits_is_named(self, host: Host) -> None:
        """A submission that ended has its history; a run that waits for its first attempt is named."""
        host.write("a.yaml", "jobs: {a: {command: exit 3, retries: 1, retry_delay: 1h}, b: {command: 'true'}}")
        host.start()
        assert 0 == run("--root", host.root, "submit", "--wait", "--", "true").returncode
        words = run("--root", host.root, "show", "host/1").stderr
        assert f"host/1 has ended; its runs: jobqueuectl --root {host.root} history host/1" in words
        retried = host.run("a")
        wait_for(lambda: host.call("Show", run=retried)["record"]["state"] == "retrying")
        assert re.search(r"^a@1 +retrying .* exit code 3$", run("--root", host.root, "history", "a").stdout, re.M)
        host.call("Hold")
        waiting = host.run("b")
        words = f"no run of b is live or has ended; waiting: {waiting}; see: jobqueuectl --root {host.root} why b\n"
        assert words == run("--root", host.root, "history", "b").stdout


RELOADED: Message = {"jobs": 2, "added": ["a", "b"], "edited": [], "removed": ["c"], "stale": [], "problems": []}


class TestReload:
    def test_changes(self, daemon: Daemon, tmp_path: Path) -> None:
        """The changed jobs are listed by kind of change."""
        daemon.answers("Reload", RELOADED)
        shown = run("--root", tmp_path, "reload")
        assert (0, "added: a, b\nremoved: c\n2 jobs\n") == (shown.returncode, shown.stdout)

    def test_refused(self, daemon: Daemon, tmp_path: Path) -> None:
        """A refused file is reported, and the answer is no; a warning is only reported."""
        for severity, code in (("error", 1), ("warning", 0)):
            problem = {**PROBLEM, "severity": severity}
            daemon.answers("Reload", {**RELOADED, "stale": [PROBLEM["file"]], "problems": [problem]})
            shown = run("--root", tmp_path, "reload")
            assert (code, True) == (shown.returncode, "b.yaml:3:5: schedule: found 'x'" in shown.stdout)
            assert f"{PROBLEM['file']} is refused; its last good jobs stay in force" in shown.stdout

    def test_nothing_changed(self, daemon: Daemon, tmp_path: Path) -> None:
        """A reload without changes says so."""
        daemon.answers("Reload", {**RELOADED, "added": [], "removed": []})
        shown = run("--root", tmp_path, "reload")
        assert "2 jobs, no changes\n" == shown.stdout


@pytest.mark.parametrize("command", ["status", "list", "doctor", "show nightly-backup@142", "status --json", "--help"])
@pytest.mark.usefixtures("daemon")
def test_a_full_disk_under_the_answer(tmp_path: Path, command: str) -> None:
    """A full disk under stdout is an error in one sentence."""
    with open("/dev/full", "w") as full:
        words = [*PROGRAM, "--root", str(tmp_path), *command.split()]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert (2, "Error: cannot write the output: No space left on device\n") == (done.returncode, done.stderr)
