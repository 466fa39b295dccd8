"""jobqueuectl as people run it: a process, against a daemon that answers from a table, or against none."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from jobqueued import __version__
from jobqueued.control.protocol.interface import INTERFACE
from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.varlink import Message, VarlinkError
from jobqueued.control.views.problems import unwell
from jobqueued.ctl.base.client import DaemonUnreachable, ask
from jobqueued.ctl.base.terminal import localised, named
from jobqueued.ctl.main import in_place, main
from jobqueued.settings.paths import Paths
from tests.support.answers import (
    ATTEMPT,
    DEFINITION,
    FREE,
    IDLE,
    JOB,
    LIVE,
    NASTY,
    PROBLEM,
    RECORD,
    STATS,
    STATUS,
    Daemon,
)
from tests.support.client import PROGRAM, environment, facts, harmful, on_terminal, run
from tests.support.host import Host, wait_for
from tests.support.needed import need
from tests.support.users import believing


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon under tmp_path that knows the job and the runs above."""
    found = Daemon(tmp_path / "run")
    found.answers("Status", STATUS)
    found.answers("List", {"jobs": [JOB, IDLE], **FREE})
    found.answers("Describe", {"job": JOB, "definition": DEFINITION, "stats": STATS, "runs": [LIVE, RECORD]})
    found.methods["Show"] = lambda asked: {"record": LIVE if asked["run"].endswith("@143") else RECORD}
    found.answers("History", {"runs": [LIVE, RECORD], "next": None})
    found.answers("Pause", {})
    found.answers("Resume", {"was_paused": True, "enabled": True, "invalid": None, "file": "/a.yaml"})
    found.answers("Run", {"run": "nightly-backup@142"})
    yield found
    found.close()


READING = (["status"], ["list"], ["show", "nightly-backup"], ["show", "nightly-backup@142"], ["history"])


@pytest.mark.usefixtures("daemon")
class TestAnswers:
    def test_status(self, tmp_path: Path) -> None:
        """A healthy daemon's status is shown, and the exit status is 0."""
        shown = run("--root", tmp_path, "status")
        runs = "3 running of at most 8, 1 waiting, 0 due, 0 retrying"
        expected = {"state": "ok", "runs": runs, "jobs": "2"}
        assert expected == {name: facts(shown.stdout)[name] for name in expected}
        assert (0, "", set()) == (shown.returncode, shown.stderr, {"on hold", "problems"} & facts(shown.stdout).keys())

    def test_status_names(self, daemon: Daemon, tmp_path: Path) -> None:
        """What fails is shown with its last failure, what was missed with a remedy, what is outdated and why, what
        waits as the clock was set back, each trouble, and who is alone.
        """
        failing = {"kind": "failing", "job": "a", "run": "a@7", "since": JOB["last_run"], "reason": "no"}
        failing["until"] = None
        missed = {**failing, "kind": "missed", "job": "b", "run": None, "reason": None}
        outdated = {**missed, "kind": "outdated", "job": "c", "reason": "its fleet has a newer one"}
        again = {**missed, "kind": "set_back", "job": "d", "until": JOB["next"]}
        found = {"attention": [failing, missed, outdated, again], "failing": 1, "missed": 1, "outdated": 1}
        found |= {"troubles": ["full"], "exclusive": "x@1"}
        daemon.answers("Status", {**STATUS, **found, "unwell": unwell({**STATUS, **found})})
        shown = run("--root", tmp_path, "status")
        told = facts(shown.stdout)
        assert (1, True) == (
            shown.returncode,
            told["failing"].endswith(f"): no; see: jobqueuectl --root {tmp_path} show a@7"),
        )
        assert told["missed"].endswith(f"; to run it: jobqueuectl --root {tmp_path} run b")
        assert "c: its fleet has a newer one" == told["outdated"]
        assert told["clock set back"].startswith("d: fixed times until 2100-01-01 ")
        assert ("full", "x@1: nothing else runs") == (told["trouble"], told["exclusive"])
        words = "no: 1 problem affects the daemon; 1 job fails; 1 job was missed; 1 job is outdated"
        assert words == told["all is well"]

    def test_status_while_held(self, daemon: Daemon, tmp_path: Path) -> None:
        """A hold is shown with its author and how to end it."""
        daemon.answers("Status", {**STATUS, "held_by": "root", "unwell": ["the host is on hold: nothing new starts"]})
        shown = run("--root", tmp_path, "status")
        held = f"by root: nothing new starts; to end it: jobqueuectl --root {tmp_path} release"
        assert (1, held) == (shown.returncode, facts(shown.stdout)["on hold"])
        daemon.answers("Status", {**STATUS, "held_by": "root", "held_until": JOB["next"]})
        assert facts(run("--root", tmp_path, "status").stdout)["on hold"].startswith("by root until ")

    @pytest.mark.parametrize(
        ("trouble", "code"),
        [
            ({"problems": [PROBLEM]}, 1),
            ({"problems": [{**PROBLEM, "severity": "warning"}]}, 0),
            ({"state": "degraded", "reason": "disk full"}, 1),
        ],
        ids=str,
    )
    def test_status_of_trouble(self, daemon: Daemon, tmp_path: Path, trouble: Message, code: int) -> None:
        """An error in a job file, or a degraded daemon, is shown and is exit status 1; a warning is only shown."""
        status = {**STATUS, **trouble}
        daemon.answers("Status", {**status, "unwell": unwell(status)})
        shown = run("--root", tmp_path, "status")
        told = "b.yaml:3:5: schedule: found 'x'" if "problems" in trouble else "disk full"
        assert (code, True) == (shown.returncode, told in shown.stdout)

    def test_list(self, tmp_path: Path) -> None:
        """A pipe gets a line for each job with all columns, however long."""
        heading, backup, idle = run("--root", tmp_path, "list").stdout.splitlines()
        columns = ["JOB", "STATUS", "NEXT", "LAST", "ENDED", "PRIORITY", "SCHEDULE", "DESCRIPTION"]
        assert columns == heading.split()
        assert backup.rstrip().endswith(r"0 2 * * *, 0 14 * * sun  Dump and ship \x1b[31mthe databases")
        assert ["x", "Idle", "-", "-", "-"] == idle.split()[:5]

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["pause", "nightlybackup"], "no such job: nightlybackup; did you mean nightly-backup?"),
            (["pause", "zzz"], "no such job: zzz; see: jobqueuectl list"),
            (["show", "nightly-bakup@9"], "no such run: nightly-bakup@9; did you mean nightly-backup@9?"),
            (["show", "x@9"], "no such run: x@9, or its record has expired; see: jobqueuectl history x"),
        ],
        ids=str,
    )
    def test_no_such_name(self, daemon: Daemon, tmp_path: Path, words: list[str], told: str) -> None:
        """A name that there is not is answered with the nearest that there is, if one is near."""
        daemon.refuses("Pause", VarlinkError("NoSuchJob", {"job": words[1]}))
        daemon.refuses("Show", VarlinkError("NoSuchRun", {"run": words[1]}))
        shown = run("--root", tmp_path, *words)
        told = told.replace("jobqueuectl", f"jobqueuectl --root {tmp_path}")
        assert (1, f"Error: {told}\n") == (shown.returncode, shown.stderr)

    @pytest.mark.parametrize(
        ("word", "told"), [("start", "It is: jobqueuectl run"), ("kill", "It is: jobqueuectl stop")]
    )
    def test_commands_of_elsewhere(self, tmp_path: Path, word: str, told: str) -> None:
        """The name of a command in other programs is answered with ours."""
        shown = run("--root", tmp_path, word, "nightly-backup")
        assert (2, f"Error: No such command '{word}'. {told}") == (shown.returncode, shown.stderr.splitlines()[-1])

    def test_no_jobs(self, daemon: Daemon, tmp_path: Path) -> None:
        """No jobs are no error."""
        daemon.answers("List", {"jobs": []})
        shown = run("--root", tmp_path, "list")
        assert (0, 1) == (shown.returncode, len(shown.stdout.splitlines()))

    def test_show_job(self, tmp_path: Path) -> None:
        """A job's definition is shown in the units of job files, without what is by default, then its newest runs."""
        shown = run("--root", tmp_path, "show", "nightly-backup")
        expected = {
            "status": "Failed", "defined in": "/etc/jobqueue.d/backup.yaml:5", "command": "backup --to 'a b'",
            "timeout": "2 h", "umask": "0022", "success codes": "0, 3", "environment": "A=b",
            "runs so far": "3 ended (1 succeeded, 2 failed), 4 skipped", "on": "boot, {event: e}",
            "locks": "db, {name: tape, mode: shared}",
        }  # fmt: skip
        assert expected == {name: facts(shown.stdout)[name] for name in expected}
        assert not {"user", "output limit", "kill grace"} & set(facts(shown.stdout))
        assert ["nightly-backup@143", "nightly-backup@142"] == [x.split()[0] for x in shown.stdout.splitlines()[-2:]]

    def test_show_run(self, tmp_path: Path) -> None:
        """A run is shown with what ran, how it ended and what it took, and the end of its output as it was."""
        shown = run("--root", tmp_path, "show", "nightly-backup@142").stdout
        expected = {
            "run": "nightly-backup@142", "state": "failed", "reason": "exit code 3", "ended with": "exit code 3",
            "started": facts(shown)["due"], "took": "2 min 3 s", "command": "backup | gzip", "user": "backup",
            "pid": "4711", "CPU": "1.25 s user, 500 ms system", "memory peak": "at least 3 MiB", "dropped": "7 B",
            "tags": "nightly", "metadata": '{"owner": "ops"}',
            "output": "2 KiB in /var/log/jobqueue/nightly-backup/142.log",
        }  # fmt: skip
        assert expected == {name: facts(shown)[name] for name in expected}
        assert shown.endswith("\n\na\tb\n" + r"\x1b]0;owned\x07\x9b31m\r\x7f\u202eend" + "\n")

    def test_show_live_run(self, tmp_path: Path) -> None:
        """A live run is shown with what it uses now."""
        shown = facts(run("--root", tmp_path, "show", "nightly-backup@143").stdout)
        assert ("running", "2 s CPU, 5 MiB, 2 tasks, stopped by a signal (SIGCONT continues it)") == (
            shown["state"],
            shown["now"],
        )

    @pytest.mark.parametrize(
        ("change", "name", "value"),
        [
            ({"signal": 9, "exit_code": None}, "ended with", "signal 9 (Killed)"),
            (
                {"memory_peak": None, "memory_peak_below": 1 << 20},
                "memory peak",
                "below 1 MiB, too small to be measured",
            ),
            ({"usage": {"cpu_seconds": 2.0, "memory": 1, "tasks": 1, "stopped": False}}, "now", "2 s CPU, 1 B, 1 task"),
            (
                {"usage": {"cpu_seconds": 2.0, "memory": 1, "tasks": 1, "stopped": False, "partial": True}},
                "now",
                "at least 2 s CPU, 1 B, 1 task",
            ),
            ({"output": {**RECORD["output"], "journal": {"dropped": 1}}}, "not in journal", "1 line"),
            ({"asked_by": "uid 4000000", "trigger": "manual"}, "trigger", "manual by uid 4000000"),
            ({"asked_by": "uid 0", "trigger": "manual"}, "trigger", "manual by root"),
            ({"warnings": ["a", "b\x1b"]}, "warning", r"a; b\x1b"),
            ({"waits_for": ["a@1 runs", "it is young"]}, "waits for", "a@1 runs; it is young"),
            ({"command": ["sh", "-c", "a b"]}, "command", "sh -c 'a b'"),
        ],
    )
    def test_facts(self, daemon: Daemon, tmp_path: Path, change: Message, name: str, value: str) -> None:
        """Each thing that a record may say is said for people."""
        daemon.answers("Show", {"record": {**RECORD, **change}})
        assert value == facts(run("--root", tmp_path, "show", "a@1").stdout)[name]

    def test_skips(self, daemon: Daemon, tmp_path: Path) -> None:
        """One record of many skips says how many and until when."""
        skips = {"state": "skipped", "attempts": [], "count": 5, "last_due": "2026-11-24T01:05:00.000000Z"}
        daemon.answers("Show", {"record": {**RECORD, **skips}})
        shown = facts(run("--root", tmp_path, "show", "a@1").stdout)
        assert shown["skipped in a row"].startswith("5, the last due 2026-11-24 01:05:00 UTC (")

    def test_skips_of_a_job(self, daemon: Daemon, tmp_path: Path) -> None:
        """Among a job's runs too one line is several skips."""
        skips = {**RECORD, "state": "skipped", "started": None, "reason": "paused", "count": 5}
        daemon.answers("Describe", {"job": JOB, "definition": DEFINITION, "stats": STATS, "runs": [skips]})
        assert run("--root", tmp_path, "show", "a").stdout.rstrip().endswith("5 times, paused")

    def test_attempts(self, daemon: Daemon, tmp_path: Path) -> None:
        """Several attempts are listed."""
        second = {**ATTEMPT, "attempt": 2, "state": "succeeded", "exit_code": 0, "reason": None}
        daemon.answers("Show", {"record": {**RECORD, "attempts": [ATTEMPT, second]}})
        lines = run("--root", tmp_path, "show", "a@1").stdout.splitlines()
        assert [["1", "failed"], ["2", "succeeded"]] == [line.split()[:2] for line in lines if line[:2] in ("1 ", "2 ")]

    @pytest.mark.parametrize(
        ("arguments", "answer"),
        [
            (["status"], STATUS),
            (["list"], {"jobs": [JOB, IDLE], **FREE}),
            (["show", "a"], {"job": JOB, "definition": DEFINITION, "stats": STATS, "runs": [LIVE, RECORD]}),
            (["show", "a@142"], RECORD),
            (["history"], {"runs": [LIVE, RECORD]}),
        ],
    )
    def test_json(self, tmp_path: Path, arguments: list[str], answer: Message) -> None:
        """Every reading command's --json is the daemon's answer, whole and exact."""
        assert {"schema": 1, **named(answer)} == json.loads(run("--root", tmp_path, *arguments, "--json").stdout)

    @pytest.mark.parametrize(
        ("error", "code", "told"),
        [
            (VarlinkError("NoSuchJob", {"job": "a\x1b"}), 1, r"no such job: a\x1b"),
            (VarlinkError("NoSuchRun", {"run": "a@1"}), 1, "no such run: a@1"),
            (VarlinkError("Refused", {"reason": "not now"}), 1, "refused: not now"),
            (VarlinkError("PermissionDenied"), 1, "member of a group in `operators` or `readers`"),
            (
                VarlinkError("org.varlink.service.MethodNotFound", {"method": "X"}),
                2,
                "the daemon replied org.varlink.service.MethodNotFound",
            ),
        ],
        ids=str,
    )
    def test_refused(self, daemon: Daemon, tmp_path: Path, error: VarlinkError, code: int, told: str) -> None:
        """A refusal is one sentence on stderr; exit status 1 if it is an answer, 2 if it is a misunderstanding."""
        daemon.refuses("Describe", error)
        shown = run("--root", tmp_path, "show", "a")
        assert (code, "", True) == (shown.returncode, shown.stdout, told in shown.stderr)


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


class TestHistory:
    def test_table(self, daemon: Daemon, tmp_path: Path) -> None:
        """One run a line, with its local time and why it ended so; several skips in a row are one line."""
        skips = {**RECORD, "state": "skipped", "started": None, "ended": None, "reason": "paused", "count": 5}
        done = {**RECORD, "state": "succeeded", "reason": None, "exit_code": 0}
        daemon.answers("History", {"runs": [LIVE, RECORD, skips, done], "next": None})
        shown = run("--root", tmp_path, "history", TZ="Europe/Berlin")
        lines = [re.split("  +", line.rstrip()) for line in shown.stdout.splitlines()]
        time = "2026-11-24 02:00:00 CET"
        expected = [
            ["RUN", "STATE", "STARTED (DUE)", "TOOK", "WHY"],
            ["nightly-backup@143", "running", time, "-", "-"],
            ["nightly-backup@142", "failed", time, "2 min 3 s", "exit code 3"],
            ["nightly-backup@142", "skipped", f"({time})", "-", "5 times, paused"],
            ["nightly-backup@142", "succeeded", time, "2 min 3 s", "-"],
        ]
        assert (expected, 0, "") == (lines, shown.returncode, shown.stderr)

    def test_asked(self, daemon: Daemon, tmp_path: Path) -> None:
        """The filters reach the daemon as states and instants, page after page, until there are enough runs."""
        asked: list[Message] = []

        def page(parameters: Message) -> Message:
            asked.append(parameters)
            return {"runs": [RECORD] * 2, "next": f"1/a@{len(asked)}"}

        daemon.methods["History"] = page
        options = ["--failed", "-s", "skipped", "--since", "2026-11-24", "--until", "2026-11-24T05:00+01:00", "-n", 5]
        shown = run("--root", tmp_path, "history", "a", "--json", *options, TZ="Europe/Berlin")
        first = {
            "job": "a", "states": ["failed", "killed", "lost", "oom_killed", "skipped", "timed_out"], "limit": 6,
            "since": "2026-11-23T23:00:00.000000Z", "until": "2026-11-24T04:00:00.000000Z",
        }  # fmt: skip
        assert [first, {**first, "before": "1/a@1"}, {**first, "before": "1/a@2"}] == asked
        assert 5 == len(json.loads(shown.stdout)["runs"])
        said = run("--root", tmp_path, "history", "a", "-n", 5)
        assert (6, "older ones are left out; with them: -n 10\n") == (len(said.stdout.splitlines()), said.stderr)

    @pytest.mark.parametrize(
        ("text", "seconds"), [("2h", 7200), ("1d12h", 129600), ("today", None), ("2026-11-24 02:00", None)]
    )
    def test_times(self, daemon: Daemon, tmp_path: Path, text: str, seconds: int | None) -> None:
        """Times are said as people say them."""
        asked: list[str] = []
        daemon.methods["History"] = lambda p: asked.append(p["since"]) or {"runs": [], "next": None}  # type: ignore[func-returns-value]
        before = time.time()
        shown = run("--root", tmp_path, "history", "--since", text)
        assert (0, "no such runs\n") == (shown.returncode, shown.stdout)
        since = datetime.fromisoformat(asked[0]).timestamp()
        if seconds is not None:
            assert before - seconds <= since <= time.time() - seconds
        else:
            assert 0 == since % 3600

    @pytest.mark.parametrize("option", ["since", "until"])
    def test_before_everything(self, daemon: Daemon, tmp_path: Path, option: str) -> None:
        """The first instant, and what is before it, is a time as others are."""
        asked: list[Message] = []
        daemon.methods["History"] = lambda p: asked.append(p) or {"runs": [], "next": None}  # type: ignore[func-returns-value]
        for text in ("1970-01-01T00:00Z", "1960-01-01"):
            shown = run("--root", tmp_path, "history", f"--{option}", text)
            assert (0, "no such runs\n", "") == (shown.returncode, shown.stdout, shown.stderr)
        assert ["1970-01-01T00:00:00.000000Z"] * 2 == [each[option] for each in asked]

    @pytest.mark.parametrize("text", ["2", "2x", "2026-13-01", "99999999d", ""])
    def test_no_time(self, text: str) -> None:
        """A malformed time is refused, with the forms that are accepted."""
        shown = run("history", "--since", text)
        assert (2, True) == (shown.returncode, "expected 2h or 1d12h (ago), 18:00, 2am" in shown.stderr), shown.stderr

    @pytest.mark.parametrize("option", ["--since", "--until"])
    def test_time_to_come(self, option: str) -> None:
        """A time in the future is refused: there is no history of it."""
        shown = run("history", option, "tomorrow")
        assert (2, True) == (shown.returncode, f"'{option}': 'tomorrow' is in the future" in shown.stderr), shown.stderr


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
            assert f"{PROBLEM['file']}: stale, its last good jobs stay in force" in shown.stdout

    def test_nothing_changed(self, daemon: Daemon, tmp_path: Path) -> None:
        """A reload without changes says so."""
        daemon.answers("Reload", {**RELOADED, "added": [], "removed": []})
        shown = run("--root", tmp_path, "reload")
        assert "2 jobs, no changes\n" == shown.stdout


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
            (["why", "a"], "Only the daemon knows what waits and why; live runs continue; see: jobqueuectl status, "),
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
        host.write("a.yaml", "jobs: {a: {command: sleep 600}, b: {command: sleep 600}}")
        host.start()
        first, _ = host.run("a"), host.run("b")
        pid = wait_for(lambda: host.call("Show", run=first)["record"]["pid"])
        host.kill()
        shown = run("--root", host.root, "stop", "a")
        told = f"{first} continues without the daemon; to end it now: kill {pid}; its record will show this"
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
        assert re.search(r"^The daemon saved its state last at \d{4}-.* UTC \(.* ago\)\.$", shown.stderr, re.M)
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
        assert ("echo 'a b'", "5 min", "Failed") == (found["command"], found["timeout"], found["status"])
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


CLEAN = "jobs:\n  a:\n    command: 'true'\n    schedule: '0 2 * * *'\n  b:\n    command: 'true'\n"
WRONG = "jobs:\n  c:\n    command: 'true'\n    schedul: '0 2 * * *'\n"


class TestCheck:
    def test_clean(self, tmp_path: Path) -> None:
        """A clean file's jobs are listed with their next due time."""
        (tmp_path / "a.yaml").write_text(CLEAN)
        shown = run("check", tmp_path / "a.yaml")
        assert (0, "2 jobs, 0 problems", "") == (shown.returncode, shown.stdout.splitlines()[-1].strip(), shown.stderr)

    def test_clean_json(self, tmp_path: Path) -> None:
        """In JSON the same, with lines and exact instants."""
        (tmp_path / "a.yaml").write_text(CLEAN)
        answer = json.loads(run("check", "--json", tmp_path / "a.yaml").stdout)
        expected: list[tuple[Any, ...]] = [("a", 2, True), ("b", 5, False)]
        found = [(job["id"], job["line"], job["next"] is not None) for job in answer["jobs"]]
        assert (expected, []) == (found, answer["problems"])

    def test_wrong(self, tmp_path: Path) -> None:
        """A problem is told by file, line and column, and is exit status 1."""
        (tmp_path / "a.yaml").write_text(WRONG)
        shown = run("check", tmp_path / "a.yaml")
        assert (1, True) == (shown.returncode, shown.stdout.startswith(f"{tmp_path}/a.yaml:4:5: "))
        answer = json.loads(run("check", "--json", tmp_path / "a.yaml").stdout)
        keys = ["file", "line", "column", "key", "message", "severity", "job", "code"]
        assert ([], [keys]) == (answer["jobs"], [list(problem) for problem in answer["problems"]])

    def test_warning(self, tmp_path: Path) -> None:
        """A warning is told and harms nothing."""
        (tmp_path / "a.yaml").write_text(CLEAN.replace("0 2 * * *", "*/90 2 * * *"))
        shown = run("check", tmp_path / "a.yaml")
        assert (0, "2 jobs, 1 problem") == (shown.returncode, shown.stdout.splitlines()[-1].strip())
        assert shown.stdout.splitlines()[0].endswith(" (warning) [JQ304]")

    def test_impossible(self, tmp_path: Path) -> None:
        """Jobs that can't run on this host are told with the way out, and harm nothing; the daemon's own jobs count."""
        (tmp_path / "jobqueue.d").mkdir()
        own = "jobs: {own: {command: 'true', dependencies: [e]}, fine: {command: 'true', resources: {tpu: 1}}}"
        (tmp_path / "jobqueue.d" / "own.yaml").write_text(own)
        (tmp_path / "jobqueued.yaml").write_text("resources: {gpu: 2}")
        (tmp_path / "a.yaml").write_text(
            "jobs:\n"
            "  a: {command: 'true', resources: {gpuu: 1}, schedule: '* * * * *'}\n"
            "  b: {command: 'true', locks: [{name: gpu, units: 3}]}\n"
            "  c: {command: 'true', resources: {cpu: 4000}}\n"
            "  d: {command: 'true', dependencies: [pwn]}\n"
            "  e: {command: 'true', dependencies: [own]}\n"
            "  fine: {command: 'true', dependencies: [own], resources: {gpu: 2}, schedule: '* * * * *'}\n"
        )
        shown = run("--root", tmp_path, "check", tmp_path / "a.yaml")
        told = shown.stdout.splitlines()
        assert (1, "6 jobs, 5 problems") == (shown.returncode, told[-1].strip())
        for line, job, code, reason in (
            (2, "a", "JQ401", "it asks for 1 of gpuu, and this host has none; did you mean gpu? "),
            (3, "b", "JQ401", "it asks for 3 of gpu, and this host has 2; to add some: resources: {gpu: 3} in "),
            (4, "c", "JQ401", "it asks for 4000 CPUs, and jobs can have "),
            (5, "d", "JQ402", "it depends on job pwn, which does not exist; did you mean own?"),
            (6, "e", "JQ404", "it depends on itself: e → own → e"),
        ):
            assert told[line - 2].startswith(f"{tmp_path}/a.yaml:{line}: {job}: it will not run: {reason}")
            assert told[line - 2].endswith(f" (warning) [{code}]")
        nexts = dict(line.split()[:2] for line in told[-7:-1])
        assert ("-", "in") == (nexts["a"], nexts["fine"])

    def test_directory(self, tmp_path: Path) -> None:
        """The job files of a directory count, in byte order of their names: the first to have an id keeps it."""
        (tmp_path / "B.yml").write_text(CLEAN)
        (tmp_path / "a.yaml").write_text(CLEAN)
        for name in (".a.yaml", "a.yaml~", "a.yaml.dpkg-old", "notes.txt"):
            (tmp_path / name).write_text("{")
        (tmp_path / "c.yaml").mkdir()
        os.mkfifo(tmp_path / "d.yaml")
        answer = json.loads(run("check", "--json", tmp_path).stdout)
        found = [(Path(problem["file"]).name, problem["line"]) for problem in answer["problems"]]
        assert (["a", "b"], [("a.yaml", 2), ("a.yaml", 5), ("c.yaml", 0), ("d.yaml", 0)]) == (
            [job["id"] for job in answer["jobs"]],
            found,
        )

    def test_own_directory(self, tmp_path: Path) -> None:
        """Without arguments the daemon's job directory is checked."""
        (tmp_path / "jobqueue.d").mkdir()
        (tmp_path / "jobqueue.d" / "a.yaml").write_text(WRONG)
        assert run("--root", tmp_path, "check").returncode == 1

    @pytest.mark.parametrize(
        ("name", "reason"), [("none.yaml", "No such file or directory"), ("x" * 300, "File name too long")]
    )
    def test_unreadable(self, tmp_path: Path, name: str, reason: str) -> None:
        """A file that can't be read is a problem and exit status 2; the others are checked all the same."""
        (tmp_path / "a.yaml").write_text(CLEAN)
        shown = run("check", "--json", tmp_path / name, tmp_path / "a.yaml")
        answer = json.loads(shown.stdout)
        told = [(problem["file"], problem["message"]) for problem in answer["problems"]]
        assert (2, [(f"{tmp_path}/{name}", f"cannot be read: {reason}")]) == (shown.returncode, told)
        assert ["a", "b"] == [job["id"] for job in answer["jobs"]]

    def test_trust(self, tmp_path: Path) -> None:
        """In the daemon's own directory owners and permissions count, elsewhere only what a file is."""
        (tmp_path / "jobqueue.d").mkdir()
        (tmp_path / "jobqueue.d" / "a.yaml").write_text(CLEAN)
        (tmp_path / "jobqueue.d" / "a.yaml").chmod(0o666)
        shown = run("--root", tmp_path, "check")
        reason = "found a file that everybody may write; expected one that only root can write: chmod go-w"
        file = f"{tmp_path}/jobqueue.d/a.yaml"
        assert (1, believing(f"{file}: {reason} {file} [JQ502]")) == (shown.returncode, shown.stdout.splitlines()[0])
        assert run("check", tmp_path / "jobqueue.d").returncode == 0
        (tmp_path / "jobqueue.d" / "a.yaml").chmod(0o644)
        (tmp_path / "jobqueue.d").chmod(0o777)
        shown = run("--root", tmp_path, "check")
        assert (1, True) == (shown.returncode, "found a directory that everybody may write" in shown.stdout)

    def test_a_fifo_without_a_writer(self, tmp_path: Path) -> None:
        """Nobody waits for one; one with a slow writer is read to its end."""
        os.mkfifo(tmp_path / "fifo")
        shown = run("check", tmp_path / "fifo")
        reason = "found a FIFO to which nobody writes; expected a file, or a pipe with a program's output"
        assert (1, f"{tmp_path}/fifo: {reason} [JQ502]") == (shown.returncode, shown.stdout.splitlines()[0])
        reading, writing = os.pipe()
        program = subprocess.Popen([*PROGRAM, "check", f"/dev/fd/{reading}"], pass_fds=[reading], stdout=-1)
        os.close(reading)
        for half in (CLEAN[:20], CLEAN[20:]):
            wait_for(lambda: Path(f"/proc/{program.pid}/stat").read_text().split()[2] == "S")
            os.write(writing, half.encode())
        os.close(writing)
        assert 0 == program.wait(60)

    def test_pipe(self) -> None:
        """A pipe that is named is read: `jobqueuectl check <(make-jobs)`."""
        reading, writing = os.pipe()
        os.write(writing, CLEAN.encode())
        os.close(writing)
        shown = subprocess.run(
            [*PROGRAM, "check", f"/dev/fd/{reading}"], pass_fds=[reading], capture_output=True, check=False
        )
        os.close(reading)
        assert (0, b"2 jobs, 0 problems", b"") == (shown.returncode, shown.stdout[-19:].strip(), shown.stderr)

    def test_unknown_user(self, tmp_path: Path) -> None:
        """A user that this host does not have is a warning, as the file is accepted, but the job can't run here."""
        (tmp_path / "a.yaml").write_text(CLEAN + "    user: no-such-user\n")
        answer = run("check", "--json", tmp_path / "a.yaml")
        [problem] = json.loads(answer.stdout)["problems"]
        assert (1, "user", "warning", 5) == (answer.returncode, problem["key"], problem["severity"], problem["line"])
        assert "found 'no-such-user'" in problem["message"]

    @given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"{CLEAN}{text}".encode(errors="replace")))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are answered in JSON, and the exit status tells whether there is an error."""
        with NamedTemporaryFile(suffix=".yaml") as file:
            file.write(data)
            file.flush()
            shown = CliRunner().invoke(main, ["check", "--json", file.name])
        answer = json.loads(shown.output)
        assert int(any(problem["severity"] == "error" for problem in answer["problems"])) == shown.exit_code

    def test_settings(self, tmp_path: Path) -> None:
        """A jobqueued.yaml, and a drop-in of it, is no job file."""
        file = tmp_path / "jobqueued.yaml"
        file.write_text("max_running: 2\nretension: {}\n")
        (tmp_path / "jobqueued.yaml.d").mkdir()
        drop_in = tmp_path / "jobqueued.yaml.d" / "a.yaml"
        drop_in.write_text("max_running: 3\n")
        shown = run("--root", tmp_path, "check", file, drop_in)
        assert (1, True, False) == (
            shown.returncode, f"{file}:2:1: retension: found an unknown key" in shown.stdout, "job file" in shown.stdout
        ), shown.stdout  # fmt: skip
        assert 0 == run("--root", tmp_path, "check", drop_in).returncode
        assert 2 == run("--root", tmp_path, "check", tmp_path / "away" / "jobqueued.yaml").returncode


class TestNext:
    def test_all(self, host: Host) -> None:
        """Without a job, the next start of each, the soonest first; while the daemon is down, by the files."""
        host.write(
            "a.yaml", "jobs: {b: {command: x, schedule: '@hourly'}, a: {command: x, every: 365d}, c: {command: x}}"
        )
        host.start()
        told = [run("--root", host.root, "next", *words) for words in ([], ["-n", "1"], ["--json"])]
        host.stop()
        told.append(run("--root", host.root, "next"))
        assert [0] * 4 == [one.returncode for one in told]
        for one in (told[0], told[3]):
            assert ["JOB", "b", "a"] == [line.split()[-1] for line in one.stdout.splitlines()]
        assert (
            f"and 1 other job; all of them: jobqueuectl --root {host.root} next -n 2" == told[1].stdout.splitlines()[-1]
        )
        assert ["b", "a"] == [it["job"] for it in json.loads(told[2].stdout)["next"]]
        host.write("a.yaml", "jobs: {c: {command: x}}")
        nothing = run("--root", host.root, "next")
        assert (1, "the clock starts no job\n") == (nothing.returncode, nothing.stdout)

    def test_expression(self) -> None:
        """The next times of an expression in a zone, exactly in JSON."""
        answer = json.loads(run("next", "-e", "0 2 * * *", "-z", "Europe/Berlin", "-n", 400, "--json").stdout)
        times = [datetime.fromisoformat(text).astimezone(ZoneInfo("Europe/Berlin")) for text in answer["next"]]
        assert (400, "Europe/Berlin") == (len(times), answer["timezone"])
        assert ({2, 3}, times) == ({time.hour for time in times}, sorted(set(times)))

    def test_table(self) -> None:
        """For people in the zone that was asked for, with its name, and how far away."""
        lines = run("next", "-e", "0 2 * * *", "-z", "Asia/Tokyo", "--seconds", "30", "-n", "2").stdout.splitlines()
        assert 3 == len(lines)
        assert re.fullmatch(r"\w{3} \d{4}-\d\d-\d\d 02:00:30 JST +in .*", lines[1].rstrip())

    @pytest.mark.parametrize(
        ("arguments", "code", "told"),
        [
            (["-e", "61 * * * *"], 1, "minute: found `61`: write 0 to 59"),
            (["-e", "* * * * *", "-z", "Mars"], 1, "timezone: found 'Mars'"),
            (["-e", "* * * * *", "--dst", "x"], 1, "dst: found `x`"),
            (["-e", "* * * * *", "--seconds", "61"], 1, "seconds: found `61`"),
            (["-e", "H * * * *"], 2, "`H` is drawn for a job"),
            (["-e", "@reboot"], 1, ""),
            (["job", "-z", "UTC"], 2, "work only with --expression"),
            (["-n", "0", "-e", "* * * * *"], 2, "--count"),
        ],
    )
    def test_refused(self, arguments: list[str], code: int, told: str) -> None:
        """A wrong question is refused with the reason."""
        shown = run("next", *arguments)
        assert (code, True) == (shown.returncode, told in shown.stderr)

    def test_drawn(self) -> None:
        """With a job's name its `H` are drawn, always the same."""
        asked = ("next", "job-a", "-e", "H H * * *", "-n", "3", "--json")
        first, again = run(*asked), run(*asked)
        assert (0, first.stdout) == (again.returncode, again.stdout)
        assert run("next", "job-b", *asked[2:]).stdout != first.stdout

    def test_daemon(self, daemon: Daemon, tmp_path: Path) -> None:
        """A job's times come from the daemon."""
        daemon.answers("Next", {"timezone": "UTC", "next": ["2100-01-01T01:00:00.000000Z"]})
        shown = run("--root", tmp_path, "next", "nightly-backup")
        assert ("Fri 2100-01-01 01:00:00 UTC" in shown.stdout, "") == (True, shown.stderr)

    def test_a_clock_that_was_set_back(self, daemon: Daemon, tmp_path: Path) -> None:
        """Beside the times it is told that those before them are not due again."""
        starts = {"timezone": "UTC", "next": ["2100-01-01T01:00:00.000000Z"], "set_back_until": JOB["last_run"]}
        daemon.answers("Next", starts)
        told = run("--root", tmp_path, "next", "a").stderr
        assert re.fullmatch("a: fixed times until 2026-11-2.* had their turn before the clock was set back\n", told)

    def test_no_daemon(self, tmp_path: Path) -> None:
        """While the daemon is down its job files are read."""
        (tmp_path / "jobqueue.d").mkdir()
        (tmp_path / "jobqueue.d" / "a.yaml").write_text(CLEAN)
        answer = json.loads(run("--root", tmp_path, "next", "a", "-n", "2", "--json").stdout)
        assert 2 == len(answer["next"])
        assert "They do not show pauses, " in run("--root", tmp_path, "next", "a").stderr
        assert 1 == run("--root", tmp_path, "next", "b").returncode
        shown = run("--root", tmp_path, "next", "c")
        assert (2, True) == (shown.returncode, "No job c in " in shown.stderr)


@pytest.mark.usefixtures("daemon")
class TestTerminal:
    @pytest.mark.parametrize("arguments", READING, ids=str)
    @pytest.mark.parametrize("columns", [40, 200])
    def test_fits(self, tmp_path: Path, columns: int, arguments: list[str]) -> None:
        """On a terminal no table is wider than the screen, and the first column is whole."""
        lines = on_terminal(columns, "--root", tmp_path, *arguments, TERM="dumb").splitlines()
        table = lines[: lines.index("")] if "" in lines else lines
        assert columns >= max(map(len, table))

    def test_columns(self, tmp_path: Path) -> None:
        """A narrow terminal shows the first columns, a wide one all."""
        narrow = on_terminal(40, "--root", tmp_path, "list", TERM="dumb").splitlines()[0].split()
        wide = on_terminal(200, "--root", tmp_path, "list", TERM="dumb").splitlines()[0].split()
        columns = ["JOB", "STATUS", "NEXT", "LAST", "ENDED", "PRIORITY", "SCHEDULE", "DESCRIPTION"]
        assert (columns[: len(narrow)], columns) == (narrow, wide)

    @pytest.mark.parametrize("arguments", READING, ids=str)
    def test_colour(self, tmp_path: Path, arguments: list[str]) -> None:
        """Colour is for terminals, unless NO_COLOR is set."""
        colours = [f"\x1b[{code}m" for code in range(30, 38)]
        coloured = on_terminal(80, "--root", tmp_path, *arguments)
        plain = on_terminal(80, "--root", tmp_path, *arguments, NO_COLOR="1")
        found = [any(colour in text for colour in colours) for text in (coloured, plain)]
        assert [True, False] == found

    @pytest.mark.parametrize("arguments", READING, ids=str)
    @pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
    def test_no_control_characters(self, daemon: Daemon, tmp_path: Path, arguments: list[str], more: list[str]) -> None:
        """A pipe gets text and line ends only, whatever jobs wrote or files say."""
        nasty = {**JOB, "id": NASTY, "description": NASTY, "status": NASTY, "schedule": [NASTY]}
        record = {
            **RECORD,
            "reason": NASTY,
            "user": NASTY,
            "command": NASTY,
            "attempts": [{**ATTEMPT, "reason": NASTY}] * 2,
        }
        daemon.answers("Status", {**STATUS, "reason": NASTY, "problems": [{**PROBLEM, "message": NASTY}]})
        daemon.answers("List", {"jobs": [nasty]})
        definition = {**DEFINITION, "command": NASTY, "environment": {NASTY: NASTY}}
        daemon.answers("Describe", {"job": nasty, "definition": definition, "stats": STATS, "runs": [record]})
        daemon.answers("Show", {"record": record})
        daemon.answers("History", {"runs": [{**record, "run": NASTY, "state": NASTY}], "next": None})
        shown = run("--root", tmp_path, *arguments, *more)
        assert (set(), "") == (harmful(shown.stdout), shown.stderr)

    def test_poor_locale(self, daemon: Daemon, tmp_path: Path) -> None:
        """A character missing in the terminal's character set is written as an escape."""
        daemon.answers("List", {"jobs": [{**JOB, "description": "Überlauf"}]})
        shown = run("--root", tmp_path, "list", PYTHONIOENCODING="ascii")
        assert (0, True) == (shown.returncode, r"\xdcberlauf" in shown.stdout)


class TestHelp:
    def test_version(self) -> None:
        """--version is the package's."""
        assert f"jobqueuectl {__version__}\n" == run("--version").stdout

    @pytest.mark.parametrize("command", [[], *([name] for name in sorted(main.commands))], ids=str)
    def test_help(self, command: list[str]) -> None:
        """-h and --help are the same, of each command."""
        short, long = run(*command, "-h"), run(*command, "--help")
        assert (0, short.stdout) == (short.returncode, long.stdout)
        assert not command or re.search(f"\n  Examples?:\n    jobqueuectl {command[0]}\\b", short.stdout)

    def test_summaries(self) -> None:
        """The list of commands, which is made without importing any, has the first sentence of each one's help."""
        listed = run("--help").stdout.partition("See what runs:\n")[2].partition("\n  Exit status:")[0].splitlines()
        listed = sorted(line for line in listed if line.startswith("  "))
        helps = {name: command.get_short_help_str(200) for name, command in main.commands.items()}
        assert sorted(helps.items()) == [tuple(line.strip().split(maxsplit=1)) for line in listed]

    @pytest.mark.parametrize(
        ("words", "meant"),
        [("kill", "stop"), ("help", "--help"), ("status backup", "show backup"), ("queue", "list")],
    )
    def test_what_was_meant(self, words: str, meant: str) -> None:
        """A word that other programs have for it is answered with ours, and so is a status of one job."""
        shown = run(*words.split())
        assert (2, True) == (shown.returncode, shown.stderr.endswith(f": jobqueuectl {meant}\n"))

    @pytest.mark.parametrize("arguments", [["frob"], ["show"], ["show", "a@b"], ["list", "--frob"], ["run"]], ids=str)
    def test_usage(self, arguments: list[str]) -> None:
        """Wrong usage is exit status 2 and a sentence, never a traceback."""
        shown = run(*arguments)
        assert (2, "", False) == (shown.returncode, shown.stdout, "Traceback" in shown.stderr)


def varlinkctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd's own client."""
    return subprocess.run([need("varlinkctl"), *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.usefixtures("daemon")
class TestVarlinkctl:
    def test_interface(self, tmp_path: Path) -> None:
        """systemd's parser accepts both interface descriptions and hands ours on as it is."""
        address = f"unix:{tmp_path}/run/control"
        names = varlinkctl("list-interfaces", address).stdout.split()
        assert ["io.jobqueue", "org.varlink.service"] == names
        introspected = [varlinkctl("introspect", address, name) for name in names]
        assert [0, 0] == [shown.returncode for shown in introspected]
        (tmp_path / "interface").write_text(INTERFACE)
        validated = varlinkctl("validate-idl", str(tmp_path / "interface"))
        assert (0, introspected[0].stdout) == (validated.returncode, validated.stdout)

    def test_info(self, tmp_path: Path) -> None:
        """The service introduces itself."""
        answer = json.loads(varlinkctl("info", "--json=short", f"unix:{tmp_path}/run/control").stdout)
        assert ("jobqueued", __version__) == (answer["product"], answer["version"])

    def test_call(self, tmp_path: Path) -> None:
        """A record comes through whole, also with what a job wrote."""
        called = varlinkctl(
            "call", "--json=short", f"unix:{tmp_path}/run/control", "io.jobqueue.Show", '{"run": "a@1"}'
        )
        assert {"record": RECORD} == json.loads(called.stdout)

    def test_unreadable_characters(self, daemon: Daemon, tmp_path: Path) -> None:
        """Characters that systemd refuses a whole message for reach it as U+FFFD."""
        daemon.answers("Show", {"record": {"tail": "a\0b\ud800c\ufffed\x7f\U0001d11e"}})
        called = varlinkctl(
            "call", "--json=short", f"unix:{tmp_path}/run/control", "io.jobqueue.Show", '{"run": "a@1"}'
        )
        assert {"record": {"tail": "a\ufffdb\ufffdc\ufffdd\x7f\U0001d11e"}} == json.loads(called.stdout)

    @pytest.mark.parametrize(
        ("method", "parameters", "error"),
        [
            ("Describe", "{}", "org.varlink.service.InvalidParameter"),
            ("Nonsense", "{}", "org.varlink.service.MethodNotFound"),
            ("Run", '{"job": "x"}', "io.jobqueue.NoSuchJob"),
        ],
    )
    def test_errors(self, daemon: Daemon, tmp_path: Path, method: str, parameters: str, error: str) -> None:
        """Errors arrive by name."""
        daemon.refuses("Run", VarlinkError("NoSuchJob", {"job": "x"}))
        called = varlinkctl("call", f"unix:{tmp_path}/run/control", f"io.jobqueue.{method}", parameters)
        assert (1, True) == (called.returncode, error in called.stderr)

    def test_oneway(self, tmp_path: Path) -> None:
        """A oneway call is carried out."""
        called = varlinkctl("call", "--oneway", f"unix:{tmp_path}/run/control", "io.jobqueue.Run", '{"job": "x"}')
        assert (0, "") == (called.returncode, called.stdout)


@pytest.mark.parametrize("command", ["status", "list", "doctor", "show nightly-backup@142", "status --json", "--help"])
@pytest.mark.usefixtures("daemon")
def test_a_full_disk_under_the_answer(tmp_path: Path, command: str) -> None:
    """A full disk under stdout is an error in one sentence."""
    with open("/dev/full", "w") as full:
        words = [*PROGRAM, "--root", str(tmp_path), *command.split()]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert (2, "Error: cannot write the output: No space left on device\n") == (done.returncode, done.stderr)


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
            ({"controllers": None}, "warning", "cgroups: runs have none: memory is only sampled"),
            ({"controllers": ["memory", "pids"]}, "warning", "cgroups: runs have the controllers memory, pids; no io"),
            ({"unenforced": ["runs have no cgroups"]}, "warning", "limits: runs have no cgroups; "),
            ({"troubles": ["no inodes are left"]}, "error", "trouble: no inodes are left; "),
            ({"launcher": False}, "error", "launcher: it does not answer, so no run starts; see the log of the daemon"),
            ({"reason": "disk full"}, "error", "state: disk full; free space on its file system, or make it writable"),
            ({"held_by": "root"}, "warning", "queue: put on hold by root: nothing new starts; jobqueuectl --root "),
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
        assert told.startswith(f"directory: {tmp_path}/logs: found a directory that everybody may write; expected ")
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
        told = f"directory: {tmp_path}/logs is not a directory in which jobqueued can write; "
        assert told in self.findings(tmp_path)[1]["error"]


def test_check_blames_the_file_that_closes_a_circle(tmp_path: Path) -> None:
    """The other file is as good as it was, and a masked one is named."""
    directory = tmp_path / "jobqueue.d"
    directory.mkdir()
    for name, other in ("ab", "ba"):
        (directory / f"{name}.yaml").write_text(f"jobs: {{{name}: {{command: 'true', dependencies: [{other}]}}}}")
    (directory / "m.yaml").symlink_to("/dev/null")
    (circle, masked, *rest) = run("--root", tmp_path, "check").stdout.splitlines()
    assert circle.startswith(f"{directory}/b.yaml:1: found a circle: b → a → b; ")
    assert f"{directory}/m.yaml: is masked by its link to /dev/null, so it has no jobs (warning) [JQ504]" == masked
    assert ["JOB  NEXT", "a    -", "1 job, 2 problems; 1 file refused with all jobs"] == rest
    assert 1 == json.loads(run("--root", tmp_path, "check", "--json").stdout)["refused"]


def test_check_warns_of_what_can_not_run_here(tmp_path: Path) -> None:
    """A program, directory or group that does not exist, and an instant that is past, are warnings."""
    file = tmp_path / "a.yaml"
    file.write_text(
        "jobs:\n  a: {command: [/nowhere/prog, x]}\n  b: {command: /etc/passwd --full, group: no-such}\n"
        "  c: {command: 'true', at: 2020-01-01T00:00Z, groups: [root, none-such]}\n"
        "  d: {command: /bin/sh -c true, groups: [root]}\n"
        f"  e: {{command: [no-such-prog], working_directory: {tmp_path}/none, failover: no-such-either --now}}\n"
        "  py: {command: import os, shell: /usr/bin/python3}\n"
        "  f: {command: 'cd / && no-such', failover: 'f() { true; }; f', working_directory: /}\n"
        "  g: {command: [hidden], environment: {PATH: '/nowhere:/root'}}\n"
        "  h: {command: [hidden], environment_file: /etc/default/x}\n"
        "  i: {command: bin/x, working_directory: /etc/passwd}\n"
        "  j: {command: [bin/x], working_directory: /, locks: [{path: /no/where/x.lock}, db]}\n"
        "  k: {command: x, shell: /bin/dsh, on: {path: '/no/where/*.csv'}}\n"
    )
    shown = run("--root", tmp_path, "check", file)
    assert 1 == shown.returncode
    told = [line for line in shown.stdout.splitlines() if "(warning)" in line]
    no_group = "expected a group of this host; without it the job will not run (warning) [JQ505]"
    expected = [
        f"{file}:2: a: command: /nowhere/prog does not exist here; expected the path of a program (warning) [JQ507]",
        f"{file}:3: b: command: /etc/passwd is not a program here; expected the path of a program (warning) [JQ507]",
        f"{file}:4: c: at: found an instant in the past (2020-01-01 00:00:00 UTC), "
        "so a job that did not run yet never will; use a future instant, or `schedule` for several (warning) "
        "[JQ305]",
    ]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    remedy = "expected its full path, or `environment: {PATH: …}` (warning) [JQ507]"
    expected += [
        f"{file}:6: e: working_directory: {tmp_path}/none does not exist here; expected an existing directory "
        "(warning) [JQ510]",
        f"{file}:6: e: command: found no program no-such-prog in the job's PATH ({path}); {remedy}",
        f"{file}:6: e: failover: found no program no-such-either in the job's PATH ({path}); {remedy}",
        f"{file}:9: g: command: found no program hidden in the job's PATH (/nowhere:/root); {remedy}",
        f"{file}:10: h: environment_file: /etc/default/x does not exist here; without this file, the job will not "
        f"start "
        "(warning) [JQ509]",
        f"{file}:11: i: working_directory: /etc/passwd is not a directory here; expected an existing directory "
        "(warning) [JQ510]",
        f"{file}:12: j: command: found no program bin/x in /, the job's working_directory; expected its full path "
        "(warning) [JQ507]",
        f"{file}:12: j: locks: /no/where does not exist here, so /no/where/x.lock can't be in it (warning) [JQ510]",
        f"{file}:13: k: shell: /bin/dsh does not exist here; expected the path of a program (warning) [JQ507]",
        f"{file}:13: k: on: /no/where does not exist here, so /no/where/*.csv can't be in it (warning) [JQ510]",
    ]
    expected += [
        f"{file}:3: b: group: found 'no-such'; {no_group}",
        f"{file}:4: c: groups: found 'none-such'; {no_group}",
    ]
    assert expected == told


def test_check_warns_of_limits_that_are_required_and_missing(host: Host) -> None:
    """Where runs have no cgroups a job that requires a limit does not start, which check knows of the daemon."""
    (host.root / "jobqueue.d" / "a.yaml").write_text(
        "jobs: {a: {command: [sh], resource_limits: {tasks: 9, open_files: 9}, enforce: required}}"
    )
    told = "enforce: the job will not start, because this host can't enforce resource_limits.tasks; use best_effort, or"
    assert told not in run("--root", host.root, "check").stdout
    host.start()
    assert told in run("--root", host.root, "check").stdout


def test_check_names_files_that_are_not_read(tmp_path: Path) -> None:
    """A file without the name of a job file is told; leftovers, directories and what is switched off are not."""
    quiet = ("a.yaml~", ".a.yaml.swp", "a.yaml.dpkg-old", "README", "#a.yaml#", "a.yaml.disabled", "x.rpmsave", "a.bak")
    for name in ("backup", "a.YAML", "jobs.json", "cleanup.conf", *quiet):
        (tmp_path / name).write_text("jobs: {}")
    (tmp_path / "archive").mkdir()
    shown = run("check", tmp_path).stdout.splitlines()
    not_read = "is ignored; expected a printable name that ends in .yaml or .yml (lower case)"
    names = ("a.YAML", "backup", "cleanup.conf", "jobs.json")
    told = [f"{tmp_path}/{name}: {not_read} (warning) [JQ503]" for name in names]
    assert told == [line for line in shown if "(warning)" in line]


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


@pytest.mark.usefixtures("daemon")
class TestWords:
    @pytest.mark.parametrize(
        "words",
        [["list", "--json", "--root", "ROOT"], ["--json", "list", "--root=ROOT"], ["--root", "ROOT", "list", "--json"]],
        ids=str,
    )
    def test_options_anywhere(self, tmp_path: Path, words: list[str]) -> None:
        """--root and --json mean the same before and behind the command."""
        shown = run(*[word.replace("ROOT", str(tmp_path)) for word in words])
        assert ["nightly-backup", "x"] == [job["id"] for job in json.loads(shown.stdout)["jobs"]]

    def test_the_options_of_another_program(self, tmp_path: Path) -> None:
        """What follows `with-lock` belongs to its command."""
        assert ["--root", "R", "with-lock", "a", "b", "--root", "x"] == in_place(
            ["--root", "R", "with-lock", "a", "b", "--root", "x"]
        )
        assert ["--root", "R", "show", "--", "--root"] == in_place(["show", "--root", "R", "--", "--root"])
        assert ["--user", "show", "a"] == in_place(["show", "a", "--user"])
        assert ["with-lock", "a", "--user"] == in_place(["with-lock", "a", "--user"])
        assert ["edit", "--user", "bob"] == in_place(["edit", "--user", "bob"], lambda *own: own == ("edit", "--user"))

    @pytest.mark.parametrize(
        ("words", "listed"),
        [
            (["x"], ["x"]), (["night*"], ["nightly-backup"]), (["--tag", "nightly", "x"], ["x"]),
            (["--tag", "none"], []), (["--failed"], ["nightly-backup"]), (["--sort", "next"], ["nightly-backup", "x"]),
            (["--sort", "last"], ["x", "nightly-backup"]),
        ],
        ids=str,
    )  # fmt: skip
    def test_list_of_some(self, tmp_path: Path, words: list[str], listed: list[str]) -> None:
        """Names, globs, tags and --failed choose; --sort orders."""
        shown = run("--root", tmp_path, "list", *words, "--json")
        assert (0, listed) == (shown.returncode, [job["id"] for job in json.loads(shown.stdout)["jobs"]])

    def test_list_of_nobody(self, tmp_path: Path) -> None:
        """A name that matches no job is exit status 1."""
        shown = run("--root", tmp_path, "list", "zz*")
        assert (1, f"Error: no such job: zz*; see: jobqueuectl --root {tmp_path} list\n") == (
            shown.returncode,
            shown.stderr,
        )

    def test_values_for_scripts(self, daemon: Daemon, tmp_path: Path) -> None:
        """--tsv has no headings, exact values, and one line a job with as many tabs, whatever is in them."""
        daemon.answers("List", {"jobs": [{**JOB, "description": "a\tb\nc", "priority": 0}, IDLE]})
        first, second = (line.split("\t") for line in run("--root", tmp_path, "list", "--tsv").stdout.splitlines())
        schedule = "0 2 * * *, 0 14 * * sun"
        assert [
            "nightly-backup", "Failed", JOB["next"], JOB["last_run"], "failed", "0", schedule, r"a\tb\nc",
        ] == first  # fmt: skip
        assert ["x", "Idle", "", "", ""] == second[:5]

    def test_a_pipe_gets_no_padding(self, tmp_path: Path) -> None:
        """No line for a program ends in blanks."""
        for words in (["list"], ["history"], ["show", "nightly-backup"]):
            lines = run("--root", tmp_path, *words).stdout.splitlines()
            assert [] == [line for line in lines if line != line.rstrip()], words

    @pytest.mark.parametrize(
        ("command", "columns", "kept", "hidden"),
        [
            ("list", 40, ["JOB", "STATUS", "NEXT", "LAST"], True), ("list", 300, ["JOB", "STATUS", "NEXT"], False),
            ("history", 70, ["RUN", "STATE", "STARTED", "(DUE)", "WHY"], True), ("history", 40, ["RUN"], True),
        ],
    )  # fmt: skip
    def test_what_is_hidden_is_said(
        self, tmp_path: Path, command: str, columns: int, kept: list[str], hidden: bool
    ) -> None:
        """A narrow terminal keeps what matters, and names the columns that it has no room for."""
        lines = on_terminal(columns, "--root", tmp_path, command, TERM="dumb").splitlines()
        assert kept == lines[0].split()[: len(kept)]
        assert hidden == ("not shown here:" in " ".join(lines))


SHAPES: dict[tuple[str, ...], set[str]] = {
    ("status",): {"unwell", "state", "problems", "attention", "running", "held_until", "draining", "failing", "jobs"},
    ("list",): {"jobs", "held_by", "held_until", "draining"},
    ("show", "nightly-backup"): {"job", "definition", "stats", "runs"},
    ("show", "nightly-backup@142"): {"run", "job", "state", "started", "ended", "exit_code", "signal", "output"},
    ("history",): {"runs"},
    ("check", "/etc/hostname"): {"jobs", "problems"},
    ("next", "-e", "0 2 * * *"): {"timezone", "next"},
    ("doctor",): {"findings"},
}
"""The fields of version 1 that each document keeps; one that goes needs a new version."""


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("words", SHAPES, ids=str)
def test_documents_have_a_version(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Each --json has its version, and the fields that this version promises; the types are the interface's."""
    document = json.loads(run("--root", tmp_path, *words, "--json").stdout)
    assert 1 == document["schema"]
    assert SHAPES[words] <= document.keys()


@pytest.mark.parametrize(("user", "name"), [("uid 0", "root"), ("root", "root"), ("uid 4000000", None), (None, None)])
def test_documents_name_users(daemon: Daemon, tmp_path: Path, user: str | None, name: str | None) -> None:
    """A user's number is there as it was, and beside it the name that this host has, wherever in the document it is."""
    record = {**RECORD, "asked_by": user}
    daemon.answers("Describe", {"job": JOB, "definition": DEFINITION, "stats": STATS, "runs": [record]})
    (shown,) = json.loads(run("--root", tmp_path, "show", "a", "--json").stdout)["runs"]
    assert (user, name) == (shown["asked_by"], shown["asked_by_name"])
    daemon.answers("List", {"jobs": [JOB], **FREE, "held_by": user})
    shown = json.loads(run("--root", tmp_path, "list", "--json").stdout)
    assert (user, name) == (shown["held_by"], shown["held_by_name"])
    assert "asked_by_name" not in shown["jobs"][0]


def completed(root: Path, line: str, does: str = "from jobqueued.ctl.main import main; sys.exit(main())") -> list[str]:
    """What bash offers for a line by the completion that is installed, where the program `does` that."""
    script = Path(__file__).parents[2] / "completion" / "jobqueuectl.bash"
    ask_bash = f'. {script}; COMP_LINE=$1 COMP_POINT=${{#1}}; _jobqueuectl "$2"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    program = root / "jobqueuectl"
    program.write_text(f"#!{sys.executable}\nimport sys\n{does}\n")
    program.chmod(0o755)
    words = ["bash", "-c", ask_bash, "-", line, str(program)]
    done = subprocess.run(words, env=environment(JOBQUEUE_ROOT=str(root)), capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.usefixtures("daemon")
def test_completion(tmp_path: Path) -> None:
    """The Tab key offers commands, ids of jobs, and runs behind an @, which ends a word for bash."""
    assert ["pause"] == completed(tmp_path, "jobqueuectl pau")
    assert ["nightly-backup"] == completed(tmp_path, "jobqueuectl pause ni")
    assert ["nightly-backup", "x"] == completed(tmp_path, "jobqueuectl show ")
    assert ["143", "142"] == completed(tmp_path, "jobqueuectl show nightly-backup@14")
    assert [] == completed(tmp_path / "run", "jobqueuectl show ni")
    assert [] == completed(tmp_path, "jobqueuectl --user show ni"), "there is no such instance, and no traceback"
    assert ["--user"] == completed(tmp_path, "jobqueuectl --us")


def test_completion_of_a_job_with_a_colon(tmp_path: Path) -> None:
    """Jobs of crontabs have one in their name, which ends a word for bash, too."""
    names = 'print("plain,cron.d/munin:cron-1f"); print("plain,cron.d/munin:cron-1f@12")'
    assert ["cron.d/munin:cron-1f", "cron.d/munin:cron-1f@12"] == completed(tmp_path, "jobqueuectl show cron", names)
    assert ["cron-1f", "cron-1f@12"] == completed(tmp_path, "jobqueuectl show cron.d/munin:c", names)


def test_check_reads_the_standard_input() -> None:
    """A file of - is what comes in."""
    words = [*PROGRAM, "check", "-"]
    text = "jobs: {a: {comand: x}}"
    done = subprocess.run(words, input=text, check=False, capture_output=True, text=True, env=environment())
    assert (1, "-:1:12: a: comand: found an unknown key; expected 'command' [JQ201]") == (
        done.returncode, done.stdout.splitlines()[0],
    )  # fmt: skip


def test_install_and_uninstall(tmp_path: Path) -> None:
    """`make uninstall` leaves nothing of what `make install` has put there, but for /etc."""
    for target in ("install", "uninstall"):
        words = ["make", "-s", "-C", str(Path(__file__).parents[2]), target, f"DESTDIR={tmp_path}"]
        subprocess.run(words, check=True, capture_output=True)
        found = [path for path in tmp_path.rglob("*") if path.is_file() and "etc" not in path.parts]
        assert bool(found) == (target == "install"), found
        if target == "install":
            names = {path.name for path in found}
            assert {"_jobqueuectl", "jobqueuectl.fish", "README.md", "jobqueuectl.1", "time.md"} <= names
            assert {"jobqueued", "jobqueuectl", "jobqueue-fence", "jobqueue-fence.1"} <= names
            examples = {path.name for path in found if path.parent.name == "examples"}
            assert {"jobqueued.yaml", "examples.yaml", "cron.conf"} == examples, "not what users saved beside them"
            programs = ("jobqueued", "jobqueue-fence", "crontab", "at", "batch")
            assert [True] * 5 == [os.access(path, os.X_OK) for path in found if path.name in programs]
