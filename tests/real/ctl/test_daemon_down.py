"""jobqueuectl without a daemon, or with one that does not reply."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from jobqueued.ctl.base.client import DaemonUnreachable, ask
from jobqueued.ctl.main import main
from jobqueued.model.run import RunId
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.settings.paths import Paths
from tests.support.answers import (
    JOB,
    RECORD,
    STATUS,
    Daemon,
)
from tests.support.client import facts, run
from tests.support.host import Host, wait_for


def peer_of(connection: socket.socket) -> int:
    """The PID of the process that listens."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[0])


class TestDaemonDown:
    @pytest.mark.parametrize(
        "arguments", [["reload"], ["list"], ["run", "a"], ["list", "--json"], ["history"]], ids=str
    )
    def test_said(self, tmp_path: Path, arguments: list[str]) -> None:
        """A command that needs the daemon says where it was expected and what to do, with exit status 2."""
        shown = run("--root", tmp_path, *arguments)
        assert (2, "") == (shown.returncode, shown.stdout)
        seen = f"Error: cannot reach the daemon at {tmp_path}/run/control: it is not running; start it "
        assert shown.stderr.startswith(f"{seen}(`jobqueued --root {tmp_path}`), or choose another daemon")

    @pytest.mark.parametrize(
        ("arguments", "more"),
        [
            (["locks"], "Live runs and with-lock commands keep what they hold; "),
            (["locks", "--evict", ":with-lock@3"], "Live runs and with-lock commands keep what they hold; "),
            (["why", "a"], "Only the daemon can explain waiting runs; live runs continue; see: jobqueuectl status, "),
            (["notify"], "The daemon keeps waiting notices and sends "),
            (["notify", "--test"], "The daemon keeps waiting notices and sends "),
        ],
        ids=str,
    )
    def test_what_is_so_meanwhile(self, tmp_path: Path, arguments: list[str], more: str) -> None:
        """A question that only the daemon can answer has a second line, about what lasts without it."""
        shown = run("--root", tmp_path, *arguments)
        more = more.replace("jobqueuectl", f"jobqueuectl --root {tmp_path}")
        assert (2, more) == (shown.returncode, shown.stderr.splitlines()[1][: len(more)])
        (tmp_path / "run").touch()  # nobody knows whether it is down
        assert more not in run("--root", tmp_path, *arguments).stderr

    def test_stop(self, host: Host) -> None:
        """A live run can be ended all the same, and the way that is told does it."""
        host.write("a.yaml", "jobs: {a: {command: sleep 600, tags: [long]}, b: {command: sleep 600}}")
        host.start()
        first, _ = host.run("a"), host.run("b")
        pid = wait_for(lambda: host.call("Show", run=first)["record"]["pid"])
        host.kill()
        told = f"{first} continues without the daemon; to end it now: kill {pid}; its record will show the kill"
        for words in (["a"], ["--tag", "long"]):
            shown = run("--root", host.root, "stop", *words)
            assert (2, [told]) == (shown.returncode, shown.stderr.splitlines()[1:])
        os.kill(pid, signal.SIGTERM)
        record = wait_for(lambda: host.record(first))
        assert ("failed", 15) == (record["state"], record["signal"])

    @pytest.fixture
    def records(self, tmp_path: Path) -> Path:
        """A root with 12 records of a job, one of them torn."""
        directory = tmp_path / "logs" / "nightly-backup"
        directory.mkdir(parents=True)
        for number in range(1, 13):
            record = {**RECORD, "number": number, "run": f"nightly-backup@{number}"}
            (directory / f"{number}.json").write_text(json.dumps(record))
        (directory / "11.json").write_text('{"version"')
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "1.json").write_text(json.dumps(RECORD))
        return tmp_path

    def test_show_job(self, records: Path) -> None:
        """`show JOB` has the newest whole records, newest first, and says on stderr where from."""
        shown = run("--root", records, "show", "nightly-backup", "--runs", "3", "--json")
        runs = [record["number"] for record in json.loads(shown.stdout)["runs"]]
        assert (0, [12, 10, 9]) == (shown.returncode, runs)
        assert "it is not running" in shown.stderr
        assert f"Reading the files in {records}/logs and {records}/run instead." in shown.stderr

    def test_show_run(self, records: Path) -> None:
        """`show JOB@N` looks the same as with the daemon."""
        shown = run("--root", records, "show", "nightly-backup@7")
        assert (0, "nightly-backup@7") == (shown.returncode, facts(shown.stdout)["run"])

    @pytest.mark.parametrize("name", ["x", "nightly-backup@11", "nightly-backup@99", "../outside", "../outside@1"])
    def test_no_record(self, records: Path, name: str) -> None:
        """A run without a whole record is not found, and no name leads out of the log directory."""
        shown = run("--root", records, "show", name)
        assert (2, "", True) == (shown.returncode, shown.stdout, "No record" in shown.stderr)

    def test_history(self, records: Path) -> None:
        """`history` merges the jobs' records, newest first, and asks of them the same."""
        (records / "logs" / "a").mkdir()
        for number, hour in ((1, 0), (2, 2)):
            record = {**RECORD, "job": "a", "number": number, "run": f"a@{number}", "state": "succeeded"}
            record["queued"] = f"2026-11-24T0{hour}:00:00.000000Z"
            (records / "logs" / "a" / f"{number}.json").write_text(json.dumps(record))
        asked = ("--root", records, "history", "--json")

        def found(*options: str) -> list[str]:
            return [record["run"] for record in json.loads(run(*asked, *options).stdout)["runs"]]

        assert ["a@2", "nightly-backup@12", "nightly-backup@10"] == found("-n", "3")
        assert ["a@2", "a@1"] == found("a")
        assert ["a@2", "a@1"] == found("-s", "succeeded")
        assert ["a@2"] == found("--since", "2026-11-24T01:30")
        assert ["a@1"] == found("--until", "2026-11-24T00:30")
        assert run(*asked, "nobody").returncode == 2

    def test_list(self, records: Path) -> None:
        """`list` has the jobs of the files with what their records say, and what that leaves open is null."""
        (records / "jobqueue.d").mkdir()
        names = {
            "nightly-backup": "",
            "b": "enabled: false, ",
            "c": "user: no-such-user, ",
            "d": "every: 36h, ",
            "e": "dependencies: [no], ",
        }
        text = "\n".join(f"  {name}: {{{more}command: x, schedule: '* * * * *'}}" for name, more in names.items())
        missed = "  f: {command: x, at: '2020-01-01T00:00Z'}"
        (records / "jobqueue.d" / "a.yaml").write_text(f"jobs:\n{text}\n{missed}\n")
        (records / "logs" / "f").mkdir()
        skip = {**RECORD, "job": "f", "run": "f@1", "number": 1, "state": "skipped", "reason": "past", "started": None}
        skip |= {"last_due": skip["due"], "count": 1}
        (records / "logs" / "f" / "1.json").write_text(json.dumps(skip))
        (records / "state").mkdir()
        (records / "state" / "state.db").touch()
        shown = run("--root", records, "list", "--json")
        jobs = {job["id"]: job for job in json.loads(shown.stdout)["jobs"]}
        assert (0, sorted([*names, "f"])) == (shown.returncode, list(jobs))
        assert set(JOB) == set(jobs["b"])
        stands = {
            "nightly-backup": "Failed",
            "b": "Disabled",
            "c": "Invalid",
            "d": "Idle",
            "e": "Invalid",
            "f": "Missed",
        }
        assert stands == {name: job["status"] for name, job in jobs.items()}
        assert {"b", "c", "e", "f"} == {name for name, job in jobs.items() if job["next"] is None}
        assert [RECORD["started"], "failed"] == [jobs["nightly-backup"][name] for name in ("last_run", "last_state")]
        assert ["* * * * *", "every 1 d 12 h"] == jobs["d"]["schedule"]
        assert [None] * 4 == [jobs["d"][name] for name in ("paused", "due", "waiting", "retrying")]
        assert "it is not running" in shown.stderr
        assert re.search(r"^The daemon last saved its state at \d{4}-.* UTC \(.* ago\)\.$", shown.stderr, re.M)
        assert "They do not show pauses or waiting runs." in shown.stderr

    def test_records_of_nonsense(self, records: Path) -> None:
        """Each costs itself, in all answers; the last run is the one that ended last."""
        logs = records / "logs" / "nightly-backup"
        (logs / "12.json").write_text('{"state": "failed"}')
        (logs / "11.json").write_text(json.dumps({**RECORD, "number": 11, "run": "nightly-backup@11", "ended": 7}))
        last = {**RECORD, "number": 3, "run": "nightly-backup@3", "state": "succeeded", "reason": None}
        (logs / "3.json").write_text(json.dumps({**last, "ended": "2026-11-24T09:00:00.000000Z"}))
        (records / "jobqueue.d").mkdir()
        (records / "jobqueue.d" / "a.yaml").write_text("jobs: {nightly-backup: {command: x}}")
        asked = [["list"], ["history"], ["show", "nightly-backup", "--runs=99"]]
        listed, ran, shown = (json.loads(run("--root", records, *words, "--json").stdout) for words in asked)
        (job,) = listed["jobs"]
        assert ("succeeded", None, "Idle") == (job["last_state"], job["failing_since"], job["status"])
        assert [10, *range(9, 0, -1)] == sorted((one["number"] for one in ran["runs"]), reverse=True)
        assert 10 == len(shown["runs"])

    def test_show_defined_job(self, records: Path) -> None:
        """`show JOB` has the definition from its file too."""
        (records / "jobqueue.d").mkdir()
        (records / "jobqueue.d" / "a.yaml").write_text("jobs: {nightly-backup: {command: [echo, a b], timeout: 5m}}")
        shown = run("--root", records, "show", "nightly-backup")
        found = facts(shown.stdout)
        assert ("[echo, 'a b']", "5 min", "Failed") == (found["command"], found["timeout"], found["status"])
        assert "runs so far" not in found

    def test_live(self, host: Host) -> None:
        """Runs that go on without the daemon are known from the run directory, in each command."""
        host.write("a.yaml", "jobs: {a: {command: exec sleep 1000}}")
        host.start()
        name = host.run("a")
        (pid,) = wait_for(lambda: [p.read_text().split()[0] for p in host.root.glob("run/runs/*/*/pid")])
        host.kill()
        status = run("--root", host.root, "status")
        assert (2, True) == (status.returncode, "1 running, without the daemon" in status.stdout)
        assert ["a@1", "running"] == status.stdout.splitlines()[-1].split()[:2]
        answers = {
            command: json.loads(run("--root", host.root, *command.split(), "--json").stdout)
            for command in ("status", "list", "show a", f"show {name}", "history")
        }
        records = [answers[command]["runs"] for command in ("status", "show a", "history")]
        for record in (*(record for [record] in records), answers[f"show {name}"]):
            assert (name, "running", int(pid), 1) == (
                record["run"], record["state"], record["pid"], record["usage"]["tasks"],
            )  # fmt: skip
        assert "Running" == answers["list"]["jobs"][0]["status"] == answers["show a"]["job"]["status"]
        os.kill(int(pid), 9)
        wait_for(lambda: host.record(name))
        ended = wait_for(lambda: (r := run("--root", host.root, "history", "--json")) and json.loads(r.stdout)["runs"])
        assert [(name, "failed")] == [(record["run"], record["state"]) for record in ended]
        assert "0 running" in run("--root", host.root, "status").stdout

    def test_a_number_that_is_anothers_by_now(self, host: Host) -> None:
        """`top` shows no stranger's figures for a run whose supervisor did not come to tell its end."""
        host.write("a.yaml", "jobs: {a: {command: exec sleep 1000}}")
        host.start()
        host.run("a")
        (mark,) = wait_for(lambda: list(host.root.glob("run/runs/*/*/pid")))
        host.kill()
        assert ["a@1"] == [each["run"] for each in json.loads(run("--root", host.root, "top", "--json").stdout)["runs"]]
        pid, *instants, _supervisor = mark.read_text().split()
        other = subprocess.Popen(["sleep", "600"])
        mark.write_text(f"{pid} {' '.join(instants)} {other.pid}\n")
        assert [] == json.loads(run("--root", host.root, "top", "--json").stdout)["runs"]
        for each in (other.pid, int(pid)):
            os.kill(each, signal.SIGKILL)
        other.wait()

    def test_stopping(self, host: Host) -> None:
        """A run that is being stopped shows as such, with the reason, and with its output so far."""
        host.write("a.yaml", "jobs: {a: {command: \"trap '' TERM; echo here; while :; do sleep 1; done\"}}")
        host.start()
        name = host.run("a")
        wait_for(lambda: host.call("Show", run=name)["record"]["output"]["tail"] == "here\n")
        host.call("Stop", run=name)
        wait_for(lambda: host.said("run_stopping"))
        host.kill()
        shown = json.loads(run("--root", host.root, "show", name, "--json").stdout)
        assert (shown["state"], shown["output"]["tail"]) == ("stopping", "here\n")
        assert shown["reason"].startswith("stopped by ")
        assert shown["pid"] is not None

    def test_left_behind(self, host: Host) -> None:
        """A run that left processes behind is named while the daemon is down, too."""
        host.write("a.yaml", "jobs: {a: {command: sleep 1000 & echo $!, leave_children: true}}")
        host.start()
        host.wait(name := host.run("a"))
        host.kill()
        shown = run("--root", host.root, "status")
        answer = json.loads(run("--root", host.root, "status", "--json").stdout)
        os.kill(int(host.output(name)), 9)
        assert (name, [name], 0) == (facts(shown.stdout)["left behind"], answer["left"], answer["running"])
        wait_for(lambda: not json.loads(run("--root", host.root, "status", "--json").stdout)["left"])

    def test_a_crowded_supervisor(self, host: Host) -> None:
        """Runs whose supervisors hang, so that their backlogs are full, are live or left behind all the same."""
        host.write(
            "a.yaml",
            "jobs: {a: {command: sleep 1000 & echo $!, leave_children: true}, b: {command: echo $$; exec sleep 1000}}",
        )
        host.start()
        host.wait(left := host.run("a"))
        live = host.run("b")
        wait_for(lambda: host.call("Show", run=live)["record"]["output"]["tail"])
        paths = Paths.under(host.root)
        directory = RunDirectory(paths.runs, paths.logs)
        names = [Name(RunId.parse(each), 1) for each in (left, live)]
        with contextlib.ExitStack() as stack:
            for name, follow in zip(names, (directory.follow_left, directory.follow), strict=True):
                first = follow(name)
                assert first is not None
                supervisor = peer_of(stack.enter_context(first))
                os.kill(supervisor, signal.SIGSTOP)
                stack.callback(os.kill, supervisor, signal.SIGCONT)
                with contextlib.suppress(BlockingIOError):
                    while (waiting := follow(name)) is not None:
                        stack.enter_context(waiting)
            while_up = host.call("Status")["left"]
            host.kill()
            answer = json.loads(run("--root", host.root, "status", "--json").stdout)
        for each in (left, live):
            os.kill(int(host.output(each)), signal.SIGKILL)
        assert ([left], [left], [live]) == (while_up, answer["left"], [each["run"] for each in answer["runs"]])

    def test_not_ours_to_see(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A user who may not see live runs is not told that there are none."""
        scan = os.scandir

        def refuse(directory: Path) -> Any:
            if directory == Paths.under(tmp_path).runs:
                raise PermissionError
            return scan(directory)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(SystemExit, match="2"):
            main(["--root", str(tmp_path), "status"])
        shown = capsys.readouterr()
        with pytest.raises(SystemExit, match="2"):
            main(["--root", str(tmp_path), "status", "--json"])
        answer = json.loads(capsys.readouterr().out)
        assert [None] * 3 == [answer[name] for name in ("running", "left", "runs")]
        assert {"state": "down"} == facts(shown.out)
        assert "no permission to read" in shown.err

    def test_logs_option(self, records: Path) -> None:
        """--logs and --run say where things are without --root, which the environment can say too."""
        shown = run("--run", records / "run", "--logs", records / "logs", "show", "nightly-backup@7")
        assert (0, 0) == (shown.returncode, run("show", "nightly-backup", JOBQUEUE_ROOT=str(records)).returncode)


class TestClient:
    def test_long_path(self, tmp_path: Path) -> None:
        """A socket whose path is longer than sun_path's 107 bytes is reached."""
        directory = tmp_path / ("x" * 120) / "run"
        daemon = Daemon(directory)
        daemon.answers("Status", STATUS)
        answer = ask(directory / "control", "Status")
        daemon.close()
        assert STATUS == answer

    def test_huge_answer(self, daemon: Daemon, tmp_path: Path) -> None:
        """Ten thousand jobs come through."""
        daemon.answers("List", {"jobs": [JOB] * 10_000})
        assert [JOB] * 10_000 == ask(tmp_path / "run" / "control", "List")["jobs"]

    def test_silence(self, tmp_path: Path) -> None:
        """A daemon that does not answer is given up."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "control"))
            listener.listen()
            with pytest.raises(DaemonUnreachable, match="no answer in time"):
                ask(tmp_path / "control", "Status", timeout=0.01)

    @pytest.mark.parametrize(
        ("answer", "told"),
        [(b"hello\0", "another program"), (b"\0", "another program"), (b"", "closed the"), (b"{}", "closed the")],
    )
    def test_nonsense(self, tmp_path: Path, answer: bytes, told: str) -> None:
        """Any other program that listens there is recognised."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "control"))
            listener.listen()

            def talk() -> None:
                peer = listener.accept()[0]
                with peer:
                    peer.recv(1 << 16)
                    peer.sendall(answer)

            thread = threading.Thread(target=talk)
            thread.start()
            with pytest.raises(DaemonUnreachable, match=told):
                ask(tmp_path / "control", "Status", timeout=60)
            thread.join()


def test_a_daemon_that_is_down_has_left_its_paths(host: Host, tmp_path: Path) -> None:
    """Where job files, records and settings are elsewhere, as README has it, they are found without the daemon."""
    jobs, logs, config = tmp_path / "own.d", tmp_path / "own-logs", tmp_path / "own.yaml"
    jobs.mkdir()
    (jobs / "a.yaml").write_text("jobs: {a: {command: echo hi, schedule: '0 2 * * *'}}")
    config.write_text("timezone: Asia/Tokyo\n")
    host.start("--jobs", str(jobs), "--logs", str(logs), "--config", str(config))
    host.wait(host.run("a"))
    host.stop()
    for words, told in (
        (["list"], "a  "), (["next", "a", "-n", "1"], "02:00:00 JST"), (["check"], "1 job, 0 problems"),
        (["show", "a@1"], "echo hi"), (["history"], "succeeded"), (["doctor"], str(logs)),
    ):  # fmt: skip
        shown = run("--root", host.root, *words)
        assert told in shown.stdout, (words, shown.stdout, shown.stderr)
    assert "No jobs can be read" in run("--root", host.root, "--jobs", tmp_path, "list").stderr


@pytest.mark.parametrize("odd", ["fifo", "link", "nonsense", "deep", "directory"])
def test_left_paths_of_a_stranger(tmp_path: Path, odd: str) -> None:
    """What is no small file of paths is left alone: nothing hangs, and the usual places count."""
    (tmp_path / "run").mkdir()
    left = tmp_path / "run" / "paths.json"
    match odd:
        case "fifo":
            os.mkfifo(left)
        case "link":
            left.symlink_to("/dev/zero")
        case "directory":
            left.mkdir()
        case _:
            left.write_text("[" * 60000 if odd == "deep" else '{"jobs": 5}')
    assert Paths.under(tmp_path) == Paths.under(tmp_path).as_left()
