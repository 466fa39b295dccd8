"""status, list, show and history as people run them, against a daemon that answers from a table."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from pathlib import Path

import pytest

from jobqueued.control.protocol.varlink import Message, VarlinkError
from jobqueued.control.views.problems import problem_texts
from jobqueued.ctl.base.terminal import named
from jobqueued.ctl.main import in_place
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
from tests.support.client import facts, harmful, on_terminal, run

READING = (["status"], ["list"], ["show", "nightly-backup"], ["show", "nightly-backup@142"], ["history"])


@pytest.mark.usefixtures("daemon")
class TestAnswers:
    def test_status(self, tmp_path: Path) -> None:
        """A healthy daemon's status is shown, and the exit status is 0."""
        shown = run("--root", tmp_path, "status")
        runs = "3 running of at most 8, 1 waiting, 0 due, 0 retrying"
        expected = {"state": "ok", "runs": runs, "jobs": "2"}
        assert expected == {name: facts(shown.stdout)[name] for name in expected}
        assert (0, "", set()) == (shown.returncode, shown.stderr, {"on hold", "files"} & facts(shown.stdout).keys())

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
        daemon.answers("Status", {**STATUS, **found, "unwell": problem_texts({**STATUS, **found})})
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
        ("trouble", "code", "files"),
        [
            ({"problems": [PROBLEM]}, 1, "1 error"),
            ({"problems": [{**PROBLEM, "severity": "warning"}] * 2}, 0, "2 warnings"),
            ({"state": "degraded", "reason": "disk full"}, 1, None),
        ],
        ids=str,
    )
    def test_status_of_trouble(self, daemon: Daemon, tmp_path: Path, trouble: Message, code: int, files: str) -> None:
        """An error in a job file, or a degraded daemon, is shown and is exit status 1; a warning is only shown."""
        status = {**STATUS, **trouble}
        daemon.answers("Status", {**status, "unwell": problem_texts(status)})
        shown = run("--root", tmp_path, "status")
        told = "b.yaml:3:5: schedule: found 'x'" if "problems" in trouble else "disk full"
        assert (code, True, files) == (shown.returncode, told in shown.stdout, facts(shown.stdout).get("files"))

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
            (
                ["retry", "nightly-bakup"],
                "no such run: nightly-bakup; did you mean a run of nightly-backup? "
                "To see them: jobqueuectl history nightly-backup",
            ),
            (["show", "nightly-bakup@9"], "no such run: nightly-bakup@9; did you mean nightly-backup@9?"),
            (["show", "x@9"], "no such run: x@9, or its record has expired; see: jobqueuectl history x"),
            (
                ["retry", "nightly-backup"],
                "nightly-backup is a job, not a run; unfinished: nightly-backup@143; for all its runs:"
                " jobqueuectl history nightly-backup",
            ),
        ],
        ids=str,
    )
    def test_no_such_name(self, daemon: Daemon, tmp_path: Path, words: list[str], told: str) -> None:
        """A name that there is not is answered with the nearest that there is, if one is near."""
        daemon.refuses("Pause", VarlinkError("NoSuchJob", {"job": words[1]}))
        daemon.refuses("Show", VarlinkError("NoSuchRun", {"run": words[1]}))
        daemon.refuses("Retry", VarlinkError("NoSuchRun", {"run": words[1]}))
        shown = run("--root", tmp_path, *words)
        told = told.replace("jobqueuectl", f"jobqueuectl --root {tmp_path}")
        assert (1, f"Error: {told}\n") == (shown.returncode, shown.stderr)

    def test_an_ended_submission_whose_first_record_expired(self, daemon: Daemon, tmp_path: Path) -> None:
        """Any record shows that the submission existed, by its whole name and its short name."""

        def history(asked: Message) -> Message:
            if (job := asked.get("job")) not in (None, "host/many"):
                raise VarlinkError("NoSuchJob", {"job": job})
            return {"runs": [{**RECORD, "job": "host/many", "run": "host/many@130"}], "next": None}

        daemon.methods["History"] = history
        daemon.refuses("Describe", VarlinkError("NoSuchJob", {"job": "host/many"}))
        daemon.refuses("Retry", VarlinkError("NoSuchRun", {"run": "host/many"}))
        daemon.refuses("Show", VarlinkError("NoSuchRun", {"run": "host/many@1"}))
        see = f"jobqueuectl --root {tmp_path} history host/many\n"
        ended, expired = f"host/many has ended; its runs: {see}", f"host/many@1, or its record has expired; see: {see}"
        for words, told in (
            (("show", "host/many"), ended), (("show", "many"), ended), (("retry", "host/many"), ended),
            (("list", "many"), ended), (("show", "host/many@1"), f"no such run: {expired}"),
        ):  # fmt: skip
            shown = run("--root", tmp_path, *words)
            assert (1, True) == (shown.returncode, (shown.stdout + shown.stderr).endswith(told)), (words, shown)
        daemon.refuses("Describe", VarlinkError("NoSuchJob", {"job": "host/none"}))
        told = f"Error: no such job: host/none; see: jobqueuectl --root {tmp_path} list\n"
        assert told == run("--root", tmp_path, "show", "host/none").stderr

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["start", "nightly-backup"], "jobqueuectl run"), (["kill", "nightly-backup"], "jobqueuectl stop"),
            (["explain", "nightly-backup"], "jobqueuectl why"), (["explain"], "jobqueuectl why"),
            (["explain", "JQ202"], "jobqueuectl check --explain JQ202"),
        ],
    )  # fmt: skip
    def test_commands_of_elsewhere(self, tmp_path: Path, words: list[str], told: str) -> None:
        """The name of a command in other programs is answered with ours."""
        shown = run("--root", tmp_path, *words)
        assert (2, f"Error: No such command '{words[0]}'. Use: {told}") == (
            shown.returncode,
            shown.stderr.splitlines()[-1],
        )

    def test_no_jobs(self, daemon: Daemon, tmp_path: Path) -> None:
        """No jobs are no error."""
        daemon.answers("List", {"jobs": []})
        shown = run("--root", tmp_path, "list")
        assert (0, 1) == (shown.returncode, len(shown.stdout.splitlines()))

    def test_show_job(self, tmp_path: Path) -> None:
        """A job's definition is shown in the units of job files, without what is by default, then its newest runs."""
        shown = run("--root", tmp_path, "show", "nightly-backup")
        expected = {
            "status": "Failed", "defined in": "/etc/jobqueue.d/backup.yaml:5", "command": "[backup, --to, 'a b']",
            "timeout": "2 h", "umask": "0022", "success codes": "0, 3", "environment": "{A: b}",
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
            ({"command": ["sh", "-c", "a b"]}, "command", "[sh, -c, 'a b']"),
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
        """Every reading command's --json is the daemon's answer, whole and exact; `status` adds failed submissions."""
        more = {"failed_submissions": []} if arguments == ["status"] else {}
        assert {"schema": 1, **named(answer), **more} == json.loads(
            run("--root", tmp_path, *arguments, "--json").stdout
        )

    @pytest.mark.parametrize(
        ("error", "code", "told"),
        [
            (VarlinkError("NoSuchJob", {"job": "a\x1b"}), 1, r"no such job: a\x1b"),
            (VarlinkError("NoSuchRun", {"run": "a@1"}), 1, "no such run: a@1"),
            (VarlinkError("Refused", {"reason": "not now"}), 1, "refused: not now"),
            (VarlinkError("PermissionDenied"), 1, "member of a group in `operators` or `readers`"),
            (VarlinkError("PermissionDenied", {"needs": "operator"}), 1, "in `operators` of jobqueued.yaml; ids of"),
            (VarlinkError("PermissionDenied", {"needs": "root"}), 1, "permission denied; run this as root\n"),
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
        assert (6, "older runs are omitted; to show more: -n 10\n") == (len(said.stdout.splitlines()), said.stderr)

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

    @pytest.mark.parametrize("text", ["2", "2x", "2026-13-01", "99999999d"])
    def test_no_time(self, text: str) -> None:
        """A malformed time is refused, with the forms that are accepted."""
        shown = run("history", "--since", text)
        assert (2, True) == (shown.returncode, "expected 2h or 1d12h (ago), 18:00, 2am" in shown.stderr), shown.stderr

    @pytest.mark.parametrize("option", ["--since", "--until"])
    def test_time_to_come(self, option: str) -> None:
        """A time in the future is refused: there is no history of it."""
        shown = run("history", option, "tomorrow")
        assert (2, True) == (shown.returncode, f"'{option}': 'tomorrow' is in the future" in shown.stderr), shown.stderr


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

    def test_list_of_some_and_of_nobody(self, tmp_path: Path) -> None:
        """The jobs are listed, each name without a job is told of, with a similar one, and the exit status is 1."""
        for more, known in (((), "x"), (("--json",), '"x"'), (("--tsv",), "x"), (("--failed",), "nightly-backup")):
            shown = run("--root", tmp_path, "list", *more, "x", "nosuch", "night_backup", "nightly-backup")
            assert (1, True) == (shown.returncode, known in shown.stdout), more
            see = f"no such job: nosuch; see: jobqueuectl --root {tmp_path} list\n"
            assert f"{see}no such job: night_backup; did you mean nightly-backup?\n" == shown.stderr
        shown = run("--root", tmp_path, "list", "--failed", "x")
        assert (1, "Error: nothing to list: --failed leaves out x\n") == (shown.returncode, shown.stderr)

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
