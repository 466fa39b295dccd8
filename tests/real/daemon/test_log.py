"""The daemon's own lines: every event has words, in three dresses, and nobody's text can forge a line or a field."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import HOUR, SECOND, to_instant
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.records.record import begin
from jobqueued.host import log
from jobqueued.host.log import Log
from jobqueued.host.messages import VOCABULARY, local_time
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from tests.support import REPO
from tests.support.host import DEADLINE
from tests.support.weight import circles
from tests.support.world import MIDNIGHT, World, job

ODD = st.lists(st.sampled_from('\n\r\t\x1b\0\x85\u2028\ud800="') | st.text(st.characters(), max_size=9)).map("".join)
FORGED = "x\nPRIORITY=0\nMESSAGE=forged\n12:00:00 forged\x1b[2J"
"""Any text, more often of what could do harm."""


def record(**fields: Any) -> dict[str, Any]:
    """A record as the scheduler begins it, with what its end adds."""
    run = Run(id=RunId("backup", 142), key="x", due=MIDNIGHT, queued=MIDNIGHT, arrival=1, state=RunState.RUNNING)
    times = {"started": "2026-03-02T00:00:00.000000Z", "ended": "2026-03-02T00:00:00.310000Z"}
    return {**begin(run, None, HostLimits("host")), **times, **fields}


FAILED = record(state="failed", reason="exit code 1", exit_code=1, pid=4711)

SAMPLES: list[tuple[str, dict[str, Any], str]] = [
    ("ready", {"summary": "2 jobs"}, "ready: 2 jobs"),
    ("stopped", {"summary": "nothing was running"}, "stopped: nothing was running"),
    ("jobs_read", {"file": "/a.yaml", "added": 2, "removed": 1}, "/a.yaml: 2 jobs added, 1 removed"),
    ("jobs_read", {"file": "/a.yaml", "added": 2, "at_start": True}, "/a.yaml: 2 jobs"),
    ("problem", {"text": "/a.yaml:1:2: no", "file": "/a.yaml", "code": "JQ202"}, "/a.yaml:1:2: no"),
    ("odd", {"text": "/a.yaml:1:2: odd", "file": "/a.yaml", "code": "JQ204"}, "/a.yaml:1:2: odd"),
    ("odd", {"text": "/r/a@1.1/pid: odd"}, "/r/a@1.1/pid: odd"),
    (
        "refused",
        {"file": "/a.yaml", "jobs": ["backup", "x"]},
        "/a.yaml: refused, stale: its last good jobs remain in force: backup, x; see: jobqueuectl check",
    ),
    ("refused", {"file": "/c/x", "jobs": []}, "/c/x: refused; see: jobqueuectl check"),
    ("flawed", {"file": "/c/x", "lines": [3]}, "/c/x: line 3 has an error and is ignored; the other lines run"),
    ("flawed", {"file": "/c/x", "lines": [3, 7]}, "/c/x: lines 3, 7 have errors and are ignored; the other lines run"),
    ("mended", {"file": "/a.yaml", "gone": False}, "/a.yaml: accepted again"),
    ("time_zone", {"text": "the zone is another"}, "the zone is another"),
    (
        "run_started",
        {"run": "backup@142", "pid": 4711, "late": 2 * SECOND},
        "backup@142 started: pid 4711, 2 s after it was due",
    ),
    (
        "run_retrying",
        {"record": FAILED, "again_in": 300.0, "failover": False},
        "backup@142 failed after 310 ms: exit code 1; next attempt in 5 min",
    ),
    (
        "retry_asked",
        {"run": "backup@142", "attempt": 2, "early": 250.0, "asked_by": "root"},
        "backup@142: attempt 2 is due now, 4 min 10 s early, requested by root",
    ),
    ("run_stopping", {"run": "backup@142", "reason": "stopped by root"}, "backup@142 is stopping: stopped by root"),
    (
        "run_lingers",
        {"run": "backup@142", "reason": "its supervisor is gone, and pid 7 (tar) might belong to it"},
        "backup@142 still holds its locks and resources: its supervisor is gone, and pid 7 (tar) might belong to it",
    ),
    ("run_ended", {"record": FAILED}, "backup@142 failed after 310 ms: exit code 1"),
    (
        "run_late",
        {"job": "backup", "run": "backup@142", "reason": "it has run for 3 h, and usually ends within 1 h"},
        "backup@142 is late: it has run for 3 h, and usually ends within 1 h",
    ),
    (
        "late_over",
        {"job": "backup", "run": "backup@142", "state": "failed", "reason": "exit code 1"},
        "late run backup@142 ended: failed: exit code 1",
    ),
    (
        "overdue",
        {"job": "backup", "within": 26 * HOUR, "since": MIDNIGHT, "reason": "it is paused"},
        "backup has not succeeded for 1 d 2 h: it is paused",
    ),
    (
        "overdue",
        {"job": "backup", "within": 26 * HOUR, "since": MIDNIGHT, "reason": "it is paused", "teller": "web2"},
        "backup has not succeeded for 1 d 2 h: it is paused; web2 sends the notice",
    ),
    (
        "overdue_over",
        {"job": "backup", "reason": "backup@142 has succeeded"},
        "backup is no longer overdue: backup@142 has succeeded",
    ),
    (
        "still_expected",
        {"job": "backup", "within": 26 * HOUR},
        "backup: removed, but still expected to succeed every 1 d 2 h; to stop expecting it: jobqueuectl forget backup",
    ),
    (
        "run_skipped",
        {
            "run": "backup@142",
            "first_run": "backup@142",
            "job": "backup",
            "reason": "missed",
            "first": MIDNIGHT,
            "due": MIDNIGHT,
            "times": 1,
            "count": 1,
        },
        f"backup@142 skipped: missed, due {local_time(MIDNIGHT)}",
    ),
    (
        "run_returned",
        {"run": "backup@142", "reason": "fork: no", "again_in": 4.0},
        "backup@142 could not be started: fork: no; next try in 4 s",
    ),
    ("clock_stepped", {"seconds": -3.5}, "the system clock was changed by -3.500 s"),
    (
        "clock_was_ahead",
        {"job": "backup", "seconds": 7500.0},
        "backup: its last due time is 2 h 5 min in the future, because the clock was wrong at that time;"
        " its schedule continues from now",
    ),
    (
        "job_paused",
        {"job": "backup", "asked_by": "root", "until": MIDNIGHT},
        f"backup: paused by root until {local_time(MIDNIGHT)}; to resume: jobqueuectl resume backup",
    ),
    (
        "skips_next",
        {"job": "backup", "asked_by": "root", "due": MIDNIGHT},
        f"backup: the run due {local_time(MIDNIGHT)} will be skipped, as requested by root;"
        " to undo: jobqueuectl skip-next --undo backup",
    ),
    (
        "skips_not",
        {"job": "backup", "asked_by": "root", "due": MIDNIGHT},
        f"backup: the run due {local_time(MIDNIGHT)} is no longer skipped: undone by root",
    ),
    (
        "held",
        {"asked_by": "root", "until": MIDNIGHT},
        f"host put on hold by root until {local_time(MIDNIGHT)}: nothing new starts; to end it: jobqueuectl release",
    ),
    ("released", {"asked_by": "root"}, "hold released by root: runs start again"),
    (
        "fleet_down",
        {"fleet": "web", "reason": "no member of etcd answers"},
        "the fleet web is unavailable: no member of etcd answers; this host starts none of its jobs",
    ),
    ("fleet_up", {"fleet": "web"}, "the fleet web is available: this host starts its jobs"),
    (
        "fleet_accepted",
        {"fleet": "web", "asked_by": "root"},
        "root accepted the restored state of the fleet web: runs that etcd has lost may repeat",
    ),
    (
        "lock_lost",
        {"run": "backup@3", "lock": "fleet/tape", "holder": "copy on b"},
        "backup@3 continues without the lock fleet/tape, which copy on b now holds: this host was"
        " unreachable for longer than"
        " lock_grace",
    ),
    (
        "job_outdated",
        {"job": "backup", "fleet": "fleet"},
        "job backup: the fleet uses a newer definition than this host's files; to run"
        " the job here, update these files, or change the job in them: the last change counts",
    ),
    (
        "job_agreed",
        {"job": "backup", "fleet": "web"},
        "job backup: the fleet web uses the definition in this host's files",
    ),
    (
        "lock_granted",
        {"guest": ":with-lock@1", "locks": ["tape", "db"], "asked_by": "root"},
        "with-lock: tape, db granted to root's command :with-lock@1 until it ends",
    ),
    (
        "lock_released",
        {"guest": ":with-lock@1", "locks": ["tape"], "asked_by": "root"},
        "with-lock: tape released by root's command :with-lock@1",
    ),
    (
        "lock_evicted",
        {"guest": ":with-lock@1", "locks": ["tape"], "asked_by": "root"},
        "with-lock: tape taken from :with-lock@1 by root",
    ),
    (
        "out_of_step",
        {"job": "report", "end": "import@5", "awaited": "import@6"},
        "report is out of step with its dependencies: import@5 came due before the job's last"
        " run; the job waits for import@6",
    ),
    (
        "emitted",
        {"name": "deployed", "asked_by": "root", "runs": ["backup@142", "test@7"]},
        "event deployed emitted by root: backup@142, test@7",
    ),
    (
        "held_up",
        {"run": "backup@142", "holders": ["a@1", "b@2"]},
        "backup@142 is delayed: it waits for a@1, b@2, which may take longer than `drain`; other"
        " runs may start before it",
    ),
    (
        "fuse",
        {"job": "backup"},
        "backup: due more than 100 times in a minute; occurrences are skipped until this stops;"
        " see: jobqueuectl next backup",
    ),
    (
        "resized",
        {"job": "host/batch", "runs": 4, "before": 2, "asked_by": "root"},
        "host/batch: 4 runs at a time (before: 2), requested by root",
    ),
    ("job_resumed", {"job": "backup", "asked_by": "root"}, "backup: resumed by root"),
    (
        "job_invalid",
        {"job": "backup", "reason": "no user 'x' on this host", "file": "/a.yaml", "line": 2},
        "backup: invalid, will not run: no user 'x' on this host (/a.yaml:2)",
    ),
    ("job_valid", {"job": "backup"}, "backup: valid again"),
    (
        "notice_sent",
        {"target": "email ops@example.org", "summary": "a@1 failed"},
        "notice sent to email ops@example.org: a@1 failed",
    ),
    (
        "notice_failed",
        {"target": "email ops@example.org", "reason": "connection refused", "waiting": 1},
        "email ops@example.org: 1 notice can't be sent: connection refused; see: jobqueuectl notify",
    ),
    (
        "notice_failed",
        {"target": "ping https://hc.example.org/…", "reason": "connection refused", "waiting": 2},
        "ping https://hc.example.org/…: 2 pings can't be sent: connection refused; see: jobqueuectl notify",
    ),
    (
        "notice_given_up",
        {"target": "email ops@example.org", "reason": "connection refused", "count": 2, "after": "3 days"},
        "email ops@example.org: 2 notices given up after 3 days: connection refused",
    ),
    ("degraded", {"text": "cannot save state"}, "cannot save state"),
    ("unsaved", {"text": "the hold by root: in memory only"}, "the hold by root: in memory only"),
    ("trouble", {"text": "the launcher is gone"}, "the launcher is gone"),
    ("recovered", {"text": "the state is saved again", "of": "state"}, "the state is saved again"),
    ("recovered", {"text": "the launcher answers again"}, "the launcher answers again"),
    ("bug", {"text": "event dropped"}, "event dropped"),
]

OPTIONAL = {"added", "edited", "removed", "at_start", "late", "file", "code", "teller"}
"""What jobs_read has only where it is not 0, run_started of a first attempt, and overdue where another host tells."""


def said(capsys: pytest.CaptureFixture[str], dress: str, event: str, **fields: Any) -> str:
    """What a journal in this dress writes to stderr."""
    Log(dress).say(event, **fields)
    return capsys.readouterr().err


class Reader:
    """A journald of the test's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(DEADLINE)
        self.socket.bind(str(path))

    def entry(self) -> list[tuple[str, str]]:
        """The next entry's fields, in order, read as systemd.journal-fields(7) and its native protocol say."""
        data, fields = self.socket.recv(1 << 20), []
        while data:
            name, _, rest = data.partition(b"\n")
            if b"=" in name:
                name, _, value = name.partition(b"=")
                data = rest
            else:
                size = int.from_bytes(rest[:8], "little")
                value, end, data = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
                assert (size, b"\n") == (len(value), end)
            fields.append((name.decode(), value.decode()))
        return fields


@pytest.fixture
def journald(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A journald that gets what the log sends."""
    reader = Reader(tmp_path_factory.mktemp("j") / "socket")
    monkeypatch.setattr(log, "_JOURNAL", str(reader.path))
    yield reader
    reader.socket.close()


class TestVocabulary:
    @pytest.mark.parametrize(("event", "fields", "text"), SAMPLES, ids=[sample[0] for sample in SAMPLES])
    def test_text(self, capsys: pytest.CaptureFixture[str], event: str, fields: dict[str, Any], text: str) -> None:
        """Every event has words for people, after the time."""
        assert re.fullmatch(rf"\d\d:\d\d:\d\d {re.escape(text)}\n", said(capsys, "text", event, **fields))

    def test_all_have_a_sample(self) -> None:
        """The samples are the whole vocabulary."""
        assert list(VOCABULARY) == list(dict.fromkeys(event for event, _, _ in SAMPLES))

    def test_what_the_code_says(self) -> None:
        """Wherever the code says something, it gives the fields that the samples have."""
        expected = {(event, frozenset(fields.keys() - OPTIONAL)) for event, fields, _ in SAMPLES}
        said = (use for path in (REPO / "jobqueued").rglob("*.py") for use in uses(path))
        found = {(event, fields - OPTIONAL) for event, fields in said}
        assert expected == found

    def test_what_the_scheduler_says(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A day in the life of a scheduler can be told."""
        world = World(job("a", "* * * * *", catch_up="none"), job("b", max_waiting=0))
        world.pass_time(90)
        world.pass_time(HOUR // SECOND, scheduler=False)
        world.boot()
        world.run("b")
        world.step_clock(60)
        for say in world.said:
            if say.event != "run_ended":  # its record is a supervisor's, which this world has not
                assert said(capsys, "text", say.event, **say.fields).endswith("\n")
        assert {"jobs_read", "run_skipped", "clock_stepped"} <= {say.event for say in world.said}

    def test_ids(self) -> None:
        """MESSAGE_IDs are 128 bits in hex, each used once, and never change."""
        ids = [entry.id for entry in VOCABULARY.values()]
        assert len(ids) == len(set(ids))
        assert all(re.fullmatch("[0-9a-f]{32}", found) for found in ids)
        assert ("f5e0d3b48a2c4b64a7c1e9d07b3f6c18", "8d1f0c6a6e7b4d31b0d9a6f1c2e35a97") == (
            VOCABULARY["run_ended"].id,
            VOCABULARY["run_started"].id,
        )

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ({"state": "succeeded"}, "backup@142 succeeded after 310 ms"),
            ({"state": "oom_killed", "reason": "out of memory"}, "backup@142 oom_killed after 310 ms: out of memory"),
            ({"state": "timed_out", "reason": "timeout after 1 s"}, "backup@142 timed_out after 310 ms"),
            ({"state": "lost", "ended": None, "reason": "gone"}, "backup@142 lost: gone"),
            ({"state": "failed", "reason": "r", "output": {"tail": "a\n b \n\n"}}, "310 ms: r; last output:  b "),
            ({"state": "succeeded", "output": {"tail": "chatter\n"}}, "backup@142 succeeded after 310 ms"),
            ({"state": "failed", "output": {"tail": "x" * 999}}, f"last output: {'x' * 200}"),
        ],
    )  # fmt: skip
    def test_ends(self, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], text: str) -> None:
        """An end tells state, duration and reason, and of a failure the last line of its output."""
        assert said(capsys, "text", "run_ended", record=record(**fields)).rstrip().endswith(text.rstrip())

    def test_end_of_an_older_supervisor(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A record that was begun before records had warnings is told all the same: the daemon starts beside it."""
        old = {name: value for name, value in FAILED.items() if name != "warnings"}
        assert "backup@142 failed after 310 ms: exit code 1" in said(capsys, "text", "run_ended", record=old)

    @pytest.mark.parametrize(
        ("failover", "text"),
        [(False, "backup@142 started: pid 4711, attempt 3"), (True, "backup@142 started: pid 4711, failover")],
    )
    def test_another_attempt(self, capsys: pytest.CaptureFixture[str], failover: bool, text: str) -> None:
        """Of a further attempt is told which one has started, not how late the run is by now."""
        fields = {"run": "backup@142", "pid": 4711, "attempt": 3, "failover": failover}
        assert said(capsys, "text", "run_started", **fields).endswith(f" {text}\n")

    @pytest.mark.parametrize(
        ("again_in", "failover", "text"),
        [
            (0.0, False, "next attempt at once"),
            (0.0, True, "failover at once"),
            (1.5, False, "next attempt in 1.5 s"),
        ],
    )
    def test_what_follows(self, capsys: pytest.CaptureFixture[str], again_in: float, failover: bool, text: str) -> None:
        """An attempt that is not the last tells what follows, and when."""
        line = said(capsys, "text", "run_retrying", record=FAILED, again_in=again_in, failover=failover)
        assert line.endswith(f"failed after 310 ms: exit code 1; {text}\n")

    def test_without_an_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A pause and a hold that nobody has set an end to have none."""
        assert said(capsys, "text", "job_paused", job="a", asked_by="root", until=None).endswith(
            " a: paused by root; to resume: jobqueuectl resume a\n"
        )
        held = said(capsys, "text", "held", asked_by="root", until=None)
        assert held.endswith(" host put on hold by root: nothing new starts; to end it: jobqueuectl release\n")

    def test_an_event_that_nobody_waits_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        """That an event makes nothing due is told, as it may be a typo."""
        line = said(capsys, "text", "emitted", name="deployd", asked_by="root", runs=[])
        assert line.endswith(" event deployd emitted by root: no job waits for it\n")

    def test_jobs_read(self, capsys: pytest.CaptureFixture[str]) -> None:
        """What changed in a file is counted in words."""
        assert said(capsys, "text", "jobs_read", file="/a.yaml", edited=1).endswith(" /a.yaml: 1 job edited\n")

    def test_skips_in_a_row(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A skip that joined others tells how many there are."""
        one = {"run": "a@1", "first_run": "a@1", "job": "a", "reason": "missed", "first": MIDNIGHT, "due": MIDNIGHT}
        assert said(capsys, "text", "run_skipped", **one, times=1, count=12).endswith(", 12 in a row\n")
        several = {**one, "run": "a@9", "first": MIDNIGHT - HOUR, "times": 9, "count": 9}
        due = f"due {local_time(MIDNIGHT - HOUR)} to {local_time(MIDNIGHT)}"
        told = said(capsys, "text", "run_skipped", **several)
        assert told.endswith(f" a@1 to a@9 skipped: missed, 9 times, {due}\n")


def uses(path: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """The events that a file says, each with the names of its fields."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(attr="say"), args=[ast.Constant(value=event), *_], keywords=keywords):
                yield str(event), frozenset(keyword.arg for keyword in keywords if keyword.arg is not None)
            case ast.Call(func=ast.Name(id="Say"), args=[ast.Constant(value=event), ast.Dict(keys=keys)]):
                yield str(event), frozenset(str(key.value) for key in keys if isinstance(key, ast.Constant))


class TestJson:
    def test_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A line is one JSON object: the time first, then the fields as they are, event, level and message."""
        before = to_instant_now()
        line = said(capsys, "json", "run_returned", run="backup@142", reason="fork: no", again_in=4.0)
        document = json.loads(line)
        assert ["time", "run", "reason", "again_in", "event", "level", "message"] == list(document)
        told = to_instant(datetime.fromisoformat(document.pop("time")))
        assert before - SECOND <= told <= to_instant_now()
        assert document == {
            "event": "run_returned", "level": "warning", "run": "backup@142", "reason": "fork: no", "again_in": 4.0,
            "message": "backup@142 could not be started: fork: no; next try in 4 s",
        }  # fmt: skip
        assert line.index("\n") == len(line) - 1

    def test_a_failure_is_a_warning(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The end of a run is a warning unless it succeeded."""
        levels = [
            json.loads(said(capsys, "json", "run_ended", record=record(state=state)))["level"]
            for state in ("succeeded", "failed", "lost")
        ]
        assert ["info", "warning", "warning"] == levels

    def test_what_json_does_not_know(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A field of a type that JSON lacks is told as text."""
        assert "/a.yaml" == json.loads(said(capsys, "json", "mended", file=Path("/a.yaml")))["file"]


class TestJournald:
    def test_fields_of_an_end(self, journald: Reader) -> None:
        """An end has what `journalctl JOBQUEUE_…=` can search for."""
        Log("journal").say("run_ended", record={**FAILED, "signal": 15})
        assert journald.entry() == [
            ("MESSAGE", "backup@142 failed after 310 ms: exit code 1"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "jobqueued"),
            ("MESSAGE_ID", VOCABULARY["run_ended"].id),
            ("JOBQUEUE_EVENT", "run_ended"),
            ("JOBQUEUE_RUN", "backup@142"),
            ("JOBQUEUE_JOB", "backup"),
            ("JOBQUEUE_STATE", "failed"),
            ("JOBQUEUE_EXIT_CODE", "1"),
            ("JOBQUEUE_SIGNAL", "15"),
            ("JOBQUEUE_REASON", "exit code 1"),
            ("JOBQUEUE_PID", "4711"),
        ]

    def test_exit_code_0(self, journald: Reader) -> None:
        """Success has its exit code too."""
        Log("journal").say("run_ended", record=record(state="succeeded", exit_code=0))
        assert "0" == dict(journald.entry())["JOBQUEUE_EXIT_CODE"]

    @pytest.mark.parametrize(("event", "fields", "text"), SAMPLES, ids=[sample[0] for sample in SAMPLES])
    def test_all(self, journald: Reader, event: str, fields: dict[str, Any], text: str) -> None:
        """Every event goes as one entry with its id, its level and its text."""
        Log("journal").say(event, **fields)
        found = dict(journald.entry())
        priority = {"info": "6", "warning": "4", "error": "3", "critical": "2"}[VOCABULARY[event].level]
        priority = "4" if event == "run_ended" else priority
        assert (text, priority, event, VOCABULARY[event].id) == tuple(
            found[name] for name in ("MESSAGE", "PRIORITY", "JOBQUEUE_EVENT", "MESSAGE_ID")
        )

    @pytest.mark.parametrize(
        ("event", "state"), [("run_started", "running"), ("run_stopping", "stopping"), ("run_skipped", "skipped")]
    )
    def test_state(self, journald: Reader, event: str, state: str) -> None:
        """Whatever happens to a run, the line can be found by the state that the run is in from then on."""
        Log("journal").say(event, **next(fields for name, fields, _ in SAMPLES if name == event))
        assert state == dict(journald.entry())["JOBQUEUE_STATE"]

    def test_nothing_on_stderr(self, journald: Reader, capsys: pytest.CaptureFixture[str]) -> None:
        """What journald has is not told twice."""
        assert "" == said(capsys, "journal", "ready", summary="x")
        assert journald.entry()

    def test_a_file(self, journald: Reader) -> None:
        """A file's lines can be found by its name."""
        Log("journal").say("mended", file="/a.yaml")
        assert "/a.yaml" == dict(journald.entry())["JOBQUEUE_FILE"]

    def test_a_code(self, journald: Reader) -> None:
        """Lines about a finding can be found by its code."""
        Log("journal").say("odd", text="x", file="/a.yaml", code="JQ204")
        assert "JQ204" == dict(journald.entry())["JOBQUEUE_CODE"]


class TestForgery:
    @settings(max_examples=60)
    @given(ODD, ODD, ODD)
    @example(FORGED, FORGED, FORGED)
    def test_fields(self, journald: Reader, reason: str, tail: str, file: str) -> None:
        """Whatever a reason, output or name holds, an entry has its fields once, and the values as given."""
        Log("journal").say("run_ended", record=record(state="failed", reason=reason or "-", output={"tail": tail}))
        entry = journald.entry()
        assert [name for name, _ in entry] == [
            "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "MESSAGE_ID", "JOBQUEUE_EVENT", "JOBQUEUE_RUN", "JOBQUEUE_JOB",
            "JOBQUEUE_STATE", "JOBQUEUE_REASON",
        ]  # fmt: skip
        assert (reason or "-").encode(errors="replace").decode() == dict(entry)["JOBQUEUE_REASON"]
        Log("journal").say("problem", text=reason, file=file)
        assert file.encode(errors="replace").decode() == dict(journald.entry())["JOBQUEUE_FILE"]

    @settings(max_examples=60)
    @given(ODD, ODD)
    @example(FORGED, FORGED)
    def test_json(self, capsys: pytest.CaptureFixture[str], reason: str, tail: str) -> None:
        """Whatever a reason or output holds, it is one line of ASCII that says it exactly."""
        line = said(capsys, "json", "run_ended", record=record(state="failed", reason=reason, output={"tail": tail}))
        assert (1, True) == (len(line.splitlines()), line.isascii())
        document = json.loads(line)["record"]
        assert (reason, tail) == (document["reason"], document["output"]["tail"])

    @settings(max_examples=60)
    @given(ODD, ODD)
    @example(FORGED, FORGED)
    def test_text(self, capsys: pytest.CaptureFixture[str], reason: str, tail: str) -> None:
        """Whatever a reason, output or problem holds, it is one line that moves no cursor."""
        for line in (
            said(capsys, "text", "run_ended", record=record(state="failed", reason=reason, output={"tail": tail})),
            said(capsys, "text", "problem", text=reason, file="/a.yaml"),
        ):
            assert line.endswith("\n")
            assert line[:-1].isprintable()


class TestTrouble:
    def test_no_journald(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without journald, lines go to stderr as JSON, each for itself: journald may be back for the next."""
        monkeypatch.setattr(log, "_JOURNAL", str(tmp_path / "j"))
        assert "first" == json.loads(said(capsys, "journal", "bug", text="first"))["text"]
        reader = Reader(tmp_path / "j")
        assert "" == said(capsys, "journal", "bug", text="second")
        assert "second" == dict(reader.entry())["MESSAGE"]
        reader.socket.close()
        assert "third" == json.loads(said(capsys, "journal", "bug", text="third"))["text"]

    def test_too_long_for_a_datagram(self, journald: Reader, capsys: pytest.CaptureFixture[str]) -> None:
        """What does not fit a datagram goes to stderr, and the next line to journald again."""
        text = "x" * (8 << 20)
        assert text == json.loads(said(capsys, "journal", "bug", text=text))["text"]
        assert "" == said(capsys, "journal", "bug", text="next")
        assert "next" == dict(journald.entry())["MESSAGE"]

    @pytest.mark.usefixtures("journald")
    def test_a_hung_journald(self) -> None:
        """A journald that does not read stops nothing."""
        hung = Log("journal")
        thread = threading.Thread(target=lambda: [hung.say("bug", text="x" * 1000) for _ in range(3000)], daemon=True)
        thread.start()
        thread.join(DEADLINE)
        assert not thread.is_alive()

    def test_nobody_reads_stderr(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stderr that fails is tried for each line, and no reason to fail."""
        tried = []

        class Broken(io.StringIO):
            def write(self, line: str) -> int:
                tried.append(line)
                raise BrokenPipeError

            def flush(self) -> None:
                raise BrokenPipeError

        monkeypatch.setattr(sys, "stderr", Broken())
        Log("text").say("bug", text="x")
        Log("json").say("bug", text="x")
        assert 2 == len(tried)

    def test_a_line_that_is_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a disk that was full the next line is one of its own, whatever has become of the last."""

        class Disk(io.RawIOBase):
            room, kept = 1500, b""

            def writable(self) -> bool:
                return True

            def write(self, data: Any) -> int:
                taken = bytes(data[: self.room])
                if not taken:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self.room, self.kept = self.room - len(taken), self.kept + taken
                return len(taken)

        disk, it = Disk(), Log("json")
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(disk), line_buffering=True))
        it.say("bug", text="x" * 3000)
        disk.room = 10_000
        for text in ("next", "last"):
            it.say("bug", text=text)
        torn, *whole = disk.kept.decode().splitlines()
        assert "x" * 1400 in torn
        assert ["next", "last"] == [json.loads(line)["text"] for line in whole]

    def test_a_reader_of_stderr_that_does_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full pipe holds nobody up: what it does not take is not told there; once it is read it goes on."""
        reading, writing = os.pipe()
        with open(reading, "rb", buffering=0) as pipe, open(writing, "w", buffering=1) as stderr:
            monkeypatch.setattr(sys, "stderr", stderr)
            for number in range(300):
                Log("text").say("trouble", text=f"{number} {'ü' * 5000}")
            assert b" 0 " in pipe.read(100)
            os.set_blocking(pipe.fileno(), False)
            while pipe.read(1 << 20):
                pass
            Log("text").say("trouble", text="again")
            assert pipe.read(1 << 20).endswith(b" again\n")

    def test_no_descriptor_for_a_socket(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A line that has no way to journald is told on stderr, and raises nothing."""

        def none_left(*_: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(socket, "socket", none_left)
        Log("journal").say("bug", text="x")
        assert "x" == json.loads(capsys.readouterr().err)["text"]


AUTO = """
import os, sys
from jobqueued.host import log
log._JOURNAL = sys.argv[1]
if sys.argv[2] == "ours":
    found = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
log.Log().say("ready", summary="x")
"""


class TestAuto:
    @pytest.mark.parametrize(("stream", "expected"), [("ours", "journal"), ("8:1", "json"), ("", "json")])
    def test_dress(self, tmp_path: Path, stream: str, expected: str) -> None:
        """Fields for journald only if stderr is the stream that JOURNAL_STREAM names; else JSON, without a tty."""
        reader = Reader(tmp_path / "j")
        near, far = socket.socketpair()
        environment = {**os.environ, "JOURNAL_STREAM": stream}
        command = [sys.executable, "-c", AUTO, str(reader.path), stream]
        with near, far:
            subprocess.run(command, cwd=REPO, env=environment, stderr=far, check=True, timeout=DEADLINE)
            far.close()
            line = near.recv(1 << 16)
        if expected == "journal":
            assert (b"", "ready: x") == (line, dict(reader.entry())["MESSAGE"])
        else:
            assert "ready: x" == json.loads(line)["message"]
        reader.socket.close()


def to_instant_now() -> int:
    """The wall clock, for a test of a time stamp."""
    return time.time_ns()


def test_a_line_leaves_no_circle(capsys: pytest.CaptureFixture[str]) -> None:
    """There are thousands in a minute, and what the daemon freezes meanwhile no collection removes."""
    log = Log("json")
    log.say("trouble", text="one")
    assert set() == circles(lambda: [log.say("trouble", text=f"{number}") for number in range(10)])
    assert 11 == len(capsys.readouterr().err.splitlines())
