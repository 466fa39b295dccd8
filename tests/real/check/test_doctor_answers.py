"""jobqueuectl doctor, against a daemon that answers from a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobqueued.control.protocol.varlink import Message, VarlinkError
from tests.support.answers import (
    JOB,
    PROBLEM,
    STATUS,
    Daemon,
)
from tests.support.client import run


class TestDoctor:
    """Each thing that is not as it should be is found, with its remedy; the rest is ok."""

    def findings(self, tmp_path: Path, *options: str | Path) -> tuple[int, dict[str, list[str]]]:
        """The exit status, and by verdict what was told."""
        done = run("--root", tmp_path, *options, "doctor", "--json")
        found: dict[str, list[str]] = {"ok": [], "warning": [], "error": []}
        for each in json.loads(done.stdout)["findings"]:
            found[each["verdict"]].append(f"{each['what']}: {each['seen']}; {each['remedy']}")
        return done.returncode, found

    @pytest.fixture(autouse=True)
    def directories(self, tmp_path: Path) -> None:
        for name in ("state", "logs", "jobqueue.d"):
            (tmp_path / name).mkdir(exist_ok=True)

    @pytest.mark.usefixtures("daemon")
    def test_all_is_well(self, tmp_path: Path) -> None:
        """But perhaps for the clock of the host, a /tmp in memory, and what a container keeps from root."""
        code, found = self.findings(tmp_path)
        assert (0, []) == (code, found["error"])
        of_the_host = ("clock: ", "file system: ", "launcher: it lacks CAP_")
        assert [] == [told for told in found["warning"] if not told.startswith(of_the_host)]
        for what in ("daemon", "launcher", "cgroups", "job files", "directory", "journal"):
            assert any(told.startswith(f"{what}: ") for told in found["ok"]), what
        shown = run("--root", tmp_path, "doctor").stdout
        assert "ok       launcher   it answers" in shown

    @pytest.mark.parametrize(
        ("status", "verdict", "told"),
        [
            ({"controllers": None}, "warning", "cgroups: runs have no cgroups: memory is only sampled"),
            ({"controllers": ["memory", "pids"]}, "warning", "cgroups: runs have the controllers memory, pids; no io"),
            ({"unenforced": ["runs have no cgroups"]}, "warning", "limits: runs have no cgroups; "),
            ({"troubles": ["no inodes are left"]}, "error", "trouble: no inodes are left; "),
            ({"launcher": False}, "error", "launcher: it does not answer, so no run starts; see the log of the daemon"),
            ({"reason": "disk full"}, "error", "state: disk full; free space on its file system, or make it writable"),
            ({"held_by": "root"}, "warning", "queue: root put the host on hold: nothing new starts; jobqueuectl "),
            ({"version": "0.0.9"}, "warning", "daemon: the daemon has version 0.0.9, but jobqueuectl has "),
            ({"problems": [PROBLEM]}, "error", "job files: /etc/jobqueue.d/b.yaml:3:5: schedule: found 'x'; "),
        ],
    )  # fmt: skip
    def test_status(self, daemon: Daemon, tmp_path: Path, status: Message, verdict: str, told: str) -> None:
        """Each trouble in the daemon's status is a finding, with its remedy."""
        daemon.answers("Status", {**STATUS, **status})
        code, found = self.findings(tmp_path)
        assert [told] == [each[: len(told)] for each in found[verdict] if each.startswith(told.partition(":")[0])]
        assert code == (verdict == "error")

    def test_an_invalid_job(self, daemon: Daemon, tmp_path: Path) -> None:
        """It is named, with its place."""
        daemon.answers("List", {"jobs": [{**JOB, "invalid": "no user x"}]})
        code, found = self.findings(tmp_path)
        assert (1, [f"job: {JOB['id']} will not run: no user x; {JOB['file']}:{JOB['line']}"]) == (code, found["error"])

    def test_a_stranger(self, daemon: Daemon, tmp_path: Path) -> None:
        """A user who may not see jobs gets all other findings."""
        daemon.refuses("List", VarlinkError("PermissionDenied"))
        assert 0 == self.findings(tmp_path)[0]

    def test_down(self, tmp_path: Path) -> None:
        """Files, settings and directories are looked at without the daemon."""
        (tmp_path / "jobqueue.d" / "a.yaml").write_text("jobs: {a: {comand: b}}")
        (tmp_path / "jobqueued.yaml").write_text("max_runing: 3")
        (tmp_path / "logs").rmdir()
        (tmp_path / "run").mkdir()
        code, found = self.findings(tmp_path)
        assert 2 == code
        assert any(each.startswith("cgroups: ") for each in found["ok"] + found["warning"])
        for told in (
            "daemon: cannot reach the daemon at ", f"job files: {tmp_path}/jobqueue.d/a.yaml:1:", "settings: ",
            f"directory: {tmp_path}/logs: No such file or directory; jobqueued --root {tmp_path}",
        ):  # fmt: skip
            assert 1 == len([each for each in found["error"] if each.startswith(told)]), (told, found)
        assert 1 == len([each for each in found["error"] if "max_runing" in each])

    @pytest.mark.usefixtures("daemon")
    def test_places_that_a_start_would_refuse(self, tmp_path: Path) -> None:
        """Whether the daemon is up or not: a directory that others can write, or a file in its place."""
        (tmp_path / "logs").chmod(0o777)
        (tmp_path / "jobqueued.yaml").write_text(f"metrics: {{textfile: {tmp_path}/none/jq.prom}}\n")
        up = self.findings(tmp_path)[1]["error"]
        (told,) = (each for each in up if each.startswith("directory: "))
        assert told.startswith(f"directory: {tmp_path}/logs: found a directory that all users may write; expected ")
        assert f"chmod go-w {tmp_path}/logs" in told
        (tmp_path / "run/control").unlink()
        down = self.findings(tmp_path)[1]["error"]
        assert told in down
        there = f"the directory {tmp_path}/none is missing; mkdir -p {tmp_path}/none"
        assert [f"metrics: {tmp_path}/none/jq.prom can't be written: {there}"] == [
            each for each in down if each.startswith("metrics: ")
        ]
        (tmp_path / "logs").rmdir()
        (tmp_path / "logs").touch()
        told = f"directory: {tmp_path}/logs is not a directory that jobqueued can write to; "
        assert told in self.findings(tmp_path)[1]["error"]
