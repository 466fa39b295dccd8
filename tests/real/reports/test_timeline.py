"""jobqueuectl timeline: the chart on a terminal, the page, and the runs that they are made of."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobqueued.child.contract.documents import Record
from jobqueued.ctl.chart import timeline
from jobqueued.ctl.main import main
from jobqueued.state import record_files
from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.timelines import JOBS, NOW, a_day


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The day's job files and records, whose daemon is down, at the end of that day in Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    monkeypatch.setattr(timeline.time, "time_ns", lambda: int(NOW.timestamp()) * 10**9)
    (tmp_path / "jobqueue.d").mkdir()
    (tmp_path / "jobqueue.d" / "jobs.yaml").write_text(JOBS)
    for record in a_day():
        if record["state"] != "running":
            (tmp_path / "logs" / record["job"]).mkdir(parents=True, exist_ok=True)
            record_files.write(tmp_path / "logs", record)
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


def called(root: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["--root", str(root), "timeline", *words])
    assert isinstance(end.value.code, int)
    return end.value.code


def lines(records: list[Record]) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def test_the_chart_in_the_docs(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/timeline.md has what the command prints of a day, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines(a_day()).encode())))
    assert 0 == called(root, "--from", "-")
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    block = "".join(f"    {line}\n" if line else "\n" for line in shown.splitlines())
    assert block in (REPO / "docs" / "timeline.md").read_text(), block


def test_from_the_records(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While the daemon is down they are read, and the options choose among them."""
    assert 0 == called(root, "--tag", "db")
    found = capsys.readouterr()
    assert "25 runs of 2 jobs, 2026-11-25 23:55:00 CET to 2026-11-26 23:55:00 CET" in found.out
    assert "dump-orders@702 waited 1 h 35 min for database, held by backup@61" in found.out
    assert "instead" in found.err
    assert 0 == called(root, "report")
    found = capsys.readouterr()
    assert ("1 run of 1 job" in found.out, "held by dump-orders@703" in found.out) == (True, True)
    assert 0 == called(root, "report", "dump-orders", "--state", "failed")
    assert "1 run of 1 job" in capsys.readouterr().out
    assert 0 == called(root, "--since", "2026-11-26 14:00", "--until", "2026-11-26 15:00", "dump-orders")
    assert "1 run of 1 job, 2026-11-26 14:00:00 CET to 2026-11-26 15:00:00 CET" in capsys.readouterr().out
    assert 0 == called(root, "--until", "2026-11-26 00:00", "--since", "2026-11-25")
    assert "no such runs" in capsys.readouterr().out


def test_of_a_file(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same options choose; a line that is none is told with its place."""
    file = tmp_path / "runs.jsonl"
    file.write_text(lines(a_day()))
    assert 0 == called(root, "--from", str(file), "--failed", "--until", "2026-11-26 12:00")
    assert "4 runs of 2 jobs" in capsys.readouterr().out
    (root / "jobqueue.d" / "jobs.yaml").unlink()
    assert 0 == called(root, "--from", str(file), "report")
    shown = capsys.readouterr().out
    assert ("1 run of 1 job" in shown, "held by dump-orders@703" in shown) == (True, True)
    file.write_text("{}\n")
    assert 1 == called(root, "--from", str(file))
    assert f"{file}, line 1: not a run record: " in capsys.readouterr().err


def test_chrome_trace(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what export prints of the same runs."""
    assert 0 == called(root, "report", "--chrome-trace")
    own = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--root", str(root), "export", "report", "--chrome-trace"])
    assert own == capsys.readouterr().out
    assert "report" in {event["name"] for event in json.loads(own)["traceEvents"]}


def test_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The runs of the chart, each with the wait and the holder that the chart tells, in the words of a record."""
    records = {record["run"]: record for record in a_day() if record["state"] != "running"}
    assert 0 == called(root, "--json", "--since", "2026-11-26")
    document = json.loads(capsys.readouterr().out)
    assert ["schema", "begin", "end", "runs"] == list(document)
    assert ("2026-11-25T23:00:00.000000Z", "2026-11-26T22:55:00.000000Z") == (document["begin"], document["end"])
    found = {it["run"]: it for it in document["runs"]}
    assert records.keys() == found.keys()
    for run, it in found.items():
        same = ("job", "number", "state", "due", "started", "tags", "command", "waited_for")
        assert {name: records[run].get(name) for name in same} == {name: it[name] for name in same}
    assert (95 * 60 + 6, ["database"], "backup@61") == tuple(
        found["dump-orders@702"][name] for name in ("waited", "waited_for", "held_by")
    )
    skipped = next(it for it in found.values() if it["state"] == "skipped")
    assert (None, None, None) == (skipped["started"], skipped["waited"], skipped["held_by"])
    assert 0 == called(root, "--json", "--since", "2026-11-25", "--until", "2026-11-26")
    assert [] == json.loads(capsys.readouterr().out)["runs"]
    assert 2 == called(root, "--json", "--html")


def test_json_of_attempts(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The time between two attempts is a pause."""
    tries = [
        {"attempt": 1, "started": "2026-11-26T00:00:00Z", "ended": "2026-11-26T00:00:05Z"},
        {"attempt": 2, "started": "2026-11-26T00:01:00Z", "ended": "2026-11-26T00:01:05Z"},
    ]
    file = tmp_path / "runs.jsonl"
    file.write_text(json.dumps({**FOUR, "attempts": tries, "memory_peak": 4096, "cpu_user": 0.5}) + "\n")
    assert 0 == called(root, "--from", str(file), "--json")
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert [{"since": "2026-11-26T00:00:05.000000Z", "until": "2026-11-26T00:01:00.000000Z"}] == run["pauses"]
    assert (0.5, 4096) == (run["cpu"], run["memory_peak"])


FOUR = {"job": "a", "number": 1, "state": "succeeded", "due": "2026-11-26T00:00:00Z"}
"""All that a record of a file needs."""


def test_a_file_of_little(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is asked for, its runs have what a record needs; a trace of them has few tracks in whatever order."""
    file = tmp_path / "runs.jsonl"
    hours = [{**FOUR, "number": hour + 1, "due": f"2026-11-26T{hour:02}:00:00Z"} for hour in range(24)]
    file.write_text("".join(f"{json.dumps(it)}\n" for it in hours))
    for options, count in ([], 24), (["--of-user", "x"], 0), (["--reason", "x"], 0), (["--exit-code", "0"], 0):
        assert 0 == called(root, "--from", str(file), *options)
        assert (f"{count} runs of 1 job" if count else "no such runs") in capsys.readouterr().out
    assert 0 == called(root, "--from", str(file), "--html")
    capsys.readouterr()
    assert 0 == called(root, "--from", str(file), "--chrome-trace")
    events = json.loads(capsys.readouterr().out)["traceEvents"]
    assert ["a"] == [it["args"]["name"] for it in events if it["name"] == "thread_name"]


def test_a_file_of_something_else(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told in a line, before anything is printed."""
    file = tmp_path / "runs.jsonl"
    good = json.dumps(FOUR).encode()
    for line in (b'{"job": "\xff"}', b"\xfe\xff", json.dumps({**FOUR, "owner": "x"}).encode()):
        file.write_bytes(good + b"\n" + line + b"\n")
        for form in ([], ["--html"], ["--chrome-trace"], ["--of-user", "x"], ["--longer-than", "usual"]):
            assert 1 == called(root, "--from", str(file), *form)
            found = capsys.readouterr()
            assert ("", 1) == (found.out, len(found.err.splitlines()))
            assert f"{file}, line 2: not a run record: " in found.err


def test_a_file_that_breaks_off(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be read is told as that."""
    assert 1 == called(root, "--from", "/proc/self/mem")
    assert "Error: /proc/self/mem, line 1: can't be read: Input/output error\n" == capsys.readouterr().err


def test_longer_than_usual_of_a_file(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The usual is that of the file's runs that succeeded, whatever comes first in it."""
    file, slow = tmp_path / "runs.jsonl", {"state": "failed", "number": 9, "ended": "2026-11-26T00:05:00Z"}
    runs = [{**FOUR, "started": FOUR["due"], "ended": "2026-11-26T00:01:00Z", "number": nth} for nth in range(1, 6)]
    file.write_text("".join(f"{json.dumps(it)}\n" for it in [{**runs[0], **slow}, *runs]))
    assert 0 == called(root, "--from", str(file), "--longer-than", "usual")
    assert "1 run of 1 job, 2026-11-26 01:00:00 CET to 2026-11-26 01:05:00 CET" in capsys.readouterr().out


def test_longer_than_usual_of_each_host(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is usual on one host is not on another."""
    minutes = {"a": [1, 1, 1, 1, 1, 5], "b": [9, 9, 9, 9, 9, 9]}
    runs = [
        {**FOUR, "host": host, "number": nth, "started": FOUR["due"], "ended": f"2026-11-26T00:{took:02}:00Z"}
        for host, each in minutes.items()
        for nth, took in enumerate(each, 1)
    ]
    (tmp_path / "runs").write_text(json.dumps({"runs": runs, "hosts": {}}))
    assert 0 == called(root, "--from", str(tmp_path / "runs"), "--longer-than", "usual", "--json")
    assert [("a", 6)] == [(it["host"], it["number"]) for it in json.loads(capsys.readouterr().out)["runs"]]


def test_one_form(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page is no trace."""
    assert 2 == called(root, "--html", "--chrome-trace")
    assert "one form" in capsys.readouterr().err


def on_a_terminal(root: Path, *words: str, **environment: str) -> str:
    """What the command writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobqueued.ctl", "--root", str(root), "timeline", *words]
    subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL, check=False, cwd=REPO,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    found = b""
    while True:
        try:
            found += os.read(ours, 1 << 16)
        except OSError:
            os.close(ours)
            return found.decode()


def test_colours(root: Path, tmp_path: Path) -> None:
    """By state on a terminal, without $NO_COLOR, and the same signs with it; no page goes there."""
    file = tmp_path / "runs.jsonl"
    file.write_text(lines([record for record in a_day() if record["ended"]]))
    coloured, plain = on_a_terminal(root, "--from", str(file)), on_a_terminal(root, "--from", str(file), NO_COLOR="1")
    assert ("\x1b[31mF" in coloured, "\x1b[33m░" in coloured, "\x1b" in plain) == (True, True, False)
    assert plain == re.sub("\x1b\\[[0-9;]*m", "", coloured)
    assert "<html" not in on_a_terminal(root, "--from", str(file), "--html")


def test_the_page_is_whole(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It loads nothing; whatever jobs are called, the same script and markup are in it, under the hashes it permits."""
    (one, *_), file = a_day(), tmp_path / "runs.jsonl"
    pages = []
    for name in ("</script><script>alert(1)</script>", "a"):
        hostile = {**one, "job": name, "command": name, "reason": name, "tags": [name]}
        file.write_text(lines([hostile]))  # type: ignore[list-item]
        assert 0 == called(root, "--from", str(file), "--html")
        pages.append(re.sub('(?<=id="data">)[A-Za-z0-9+/=]+', "", capsys.readouterr().out))
    assert pages[0] == pages[1]
    assert re.findall(r"""(?:src|href|url)\s*[=(]|https?:|@import|\bfetch\(|XMLHttp|WebSocket""", pages[0]) == []
    assert "alert" not in pages[0]


WANTED = """\
jobs:
  holds: {command: 'while ! test -e go; do sleep 0.05; done', working_directory: "{here}", locks: [tape]}
  wants: {command: 'true', locks: [tape]}
  quiet: {command: 'true', locks: [tape]}
"""


def test_of_the_daemon(host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The holder of the lock that a run has waited for is told, also where only that job is asked for."""
    host.write("jobs.yaml", WANTED.replace("{here}", str(tmp_path)))
    host.start()
    holder = host.run("holds")
    wait_for(lambda: host.call("Show", run=holder)["record"]["state"] == "running")
    waiting = host.run("wants")
    wait_for(lambda: host.call("Show", run=waiting)["record"]["state"] == "waiting")
    (tmp_path / "go").touch()
    host.wait(waiting)
    assert 0 == called(host.root, "wants")
    assert f"{waiting} waited" in (shown := capsys.readouterr().out)
    assert ("1 run of 1 job" in shown, f"for tape, held by {holder}" in shown) == (True, True)
    assert 1 == called(host.root, "unknown")
    assert "unknown" in capsys.readouterr().err


def test_a_run_to_be_retried(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """Its attempt is seen at once, with the letter of what follows, and not only when the last one is over."""
    host.write("jobs.yaml", "jobs: {again: {command: 'exit 3', retries: 1, retry_delay: 1h}}")
    host.start()
    run = host.run("again")
    wait_for(lambda: host.call("Show", run=run)["record"]["state"] == "retrying")
    assert 0 == called(host.root)
    assert re.search(r"^again +r░* *$", shown := capsys.readouterr().out, re.MULTILINE), shown


def test_a_second_attempt_goes_on(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """While it is live its run has not ended, neither in its record nor among others, nor while the daemon is down."""
    flag = host.root / "flag"
    command = f"test -e {flag} && exec sleep 600; touch {flag}; exit 3"
    host.write("jobs.yaml", f"jobs: {{again: {{command: '{command}', retries: 1, retry_delay: 0s}}}}")
    host.start()
    run = host.run("again")
    wait_for(lambda: (it := host.call("Show", run=run)["record"])["state"] == "running" and bool(it["attempts"]))
    (listed,) = host.call("History")["runs"]
    assert (None, None) == (listed["ended"], host.call("Show", run=run)["record"]["ended"])
    host.kill()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["--root", str(host.root), "show", run, "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert ("running", 1, None) == (shown["state"], len(shown["attempts"]), shown["ended"])
    host.start()
    host.call("Stop", run=run)
    assert host.wait(run)["ended"] > listed["started"]
