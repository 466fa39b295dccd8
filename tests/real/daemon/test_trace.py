"""Traces of the real daemon: they replay, and after a bug they tell how it came to it, while all else goes on."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jobqueued.base.instants import MINUTE
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.trace import Recorder
from jobqueued.daemon import trace
from jobqueued.daemon.decisions import Decisions
from jobqueued.host.log import Log
from jobqueued.model.events import JobsRead, Woke
from jobqueued.model.job import Now
from tests.support import REPO
from tests.support.host import DEADLINE, Host, wait_for

JOBS = """
jobs:
  a: {command: 'echo so much; exit 3', retries: 1, retry_delay: 1s}
  b: {command: 'exec sleep 600', exclusive: true, metadata: {is: a dict}}
  c: {command: 'true', schedule: '* * * * *', seconds: '*/7', spread: 1s, timezone: Europe/Berlin}
  d: {command: 'true', every: 3s}
  f: {command: 'true', dependencies: [c]}
"""


def read(*arguments: object) -> tuple[int, str]:
    """``python -m jobqueued.daemon.trace``: its exit status, and what it says."""
    command = [sys.executable, "-m", "jobqueued.daemon.trace", *map(str, arguments)]
    found = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=False)
    return found.returncode, found.stdout + found.stderr


def broken(host: Host, *lines: str) -> None:
    """Let the daemon have a bug from now on: lines of Python in place of what is there."""
    program = host.root / "daemon.py"
    text = f"import sys\nsys.path.insert(0, {str(REPO)!r})\nfrom jobqueued.__main__ import main\n"
    program.write_text(text + "\n".join(lines) + "\nsys.exit(main(sys.argv[1:]))\n")
    host.program = (str(program),)


def fails(event: str) -> tuple[str, ...]:
    """A scheduler that can't handle some events."""
    return (
        "from jobqueued.core.scheduler import Scheduler",
        "from jobqueued.model.events import *",
        "before = Scheduler.handle",
        "def handle(self, event, now):",
        f"    if {event}: raise IndexError('no such step')",
        "    return before(self, event, now)",
        "Scheduler.handle = handle",
    )


def test_a_real_trace_replays(host: Host) -> None:
    """A fresh scheduler decides the same, over a start with runs that are live, and people who ask."""
    host.write("jobs.yaml", JOBS)
    host.start()
    live = host.run("b")
    wait_for(lambda: host.call("Show", run=live)["record"]["pid"])
    host.kill()
    path = host.root / "trace"
    host.start("--trace", str(path))
    ended = host.run("a")
    host.call("Pause", job="d")
    host.write("more.yaml", "jobs: {e: {command: 'true', on: [{event: x}]}}")
    wait_for(lambda: host.call("Emit", event="x")["runs"])
    host.call("Stop", run=live)
    assert ["killed", "failed"] == [host.wait(run)["state"] for run in (live, ended)]
    wait_for(lambda: host.call("Describe", job="c")["runs"])
    host.stop()
    assert (0, "every decision is the same\n") == read("replay", path)
    told = [line["told"]["is"] for line in trace.read(path) if "told" in line]
    assert "Started" == told[0]
    assert {"JobsRead", "RunStarted", "RunEnded", "RunAsked", "StopAsked", "TurnOver"} <= set(told)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    status, text = read("story", path, ended)
    words = [line.split()[1] for line in text.splitlines()]
    assert (0, "RunAsked") == (status, words[0])
    assert "RunEnded" in words
    assert live not in text


def test_two_traces_are_read_as_one(host: Host) -> None:
    """By a pipe, as the papers have it: what came before the last start, and what came after it."""
    host.write("jobs.yaml", JOBS)
    path = host.root / "trace"
    host.start("--trace", str(path))
    run = host.run("b")
    wait_for(lambda: host.call("Show", run=run)["record"]["pid"])
    host.stop()
    host.start("--trace", str(path))
    host.call("Stop", run=run)
    host.wait(run)
    host.stop()
    (typed,) = re.findall(r"^    (cat FILE\.1 FILE \| .* )backup@142$", (REPO / "docs/trace.md").read_text(), re.M)
    command = typed.replace("FILE", str(path)).replace("python3", sys.executable) + run
    command = command.replace("/dev/stdin", "/proc/self/fd/0")  # which it leads to, where there is one
    done = subprocess.run(command, shell=True, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=True)
    words = [line.split()[1] for line in done.stdout.splitlines()]
    assert "RunAsked" == words[0]
    assert {"RunStarted", "StopAsked", "RunEnded"} < {*words}


def test_what_can_not_be_read(tmp_path: Path) -> None:
    """The reason and exit status 2; a last line that was cut off is none."""
    (tmp_path / "x").write_text("{}\n")
    assert (2, f"{tmp_path}/x:1: not a trace of version 1\n") == read("replay", tmp_path / "x")
    assert (2, f"{tmp_path}/none: No such file or directory\n") == read("story", tmp_path / "none", "a@1")
    (tmp_path / "x").write_text('{"trace":1}\n{"numb')
    assert (0, f"{tmp_path}/x has nothing about a@1\n") == read("story", tmp_path / "x", "a@1")


def test_a_trace_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its limit it begins anew, beside one that is older, and so it does at each start."""
    monkeypatch.setattr(trace, "LIMIT", 10_000)
    file = trace.TraceFile(tmp_path / "t", pytest.fail)
    for number in range(1000):
        file.note({"number": number})
    assert ["t", "t.1"] == sorted(path.name for path in tmp_path.iterdir())
    assert all(path.stat().st_size < 10_100 for path in tmp_path.iterdir())
    assert 999 == list(trace.read(tmp_path / "t"))[-1]["number"]
    trace.TraceFile(tmp_path / "t", pytest.fail)
    assert (1, 999) == (len(list(trace.read(tmp_path / "t"))), list(trace.read(tmp_path / "t.1"))[-1]["number"])


def test_a_full_disk_ends_the_trace(tmp_path: Path) -> None:
    """It is said once, and nothing else happens."""
    said: list[str] = []
    file = trace.TraceFile(tmp_path / "t", said.append)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file._file)
    file.note({})
    file.note({})
    os.close(full)
    assert [f"{tmp_path}/t: No space left on device; the trace ends here"] == said


def test_few_files_about_bugs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of them, with the newest entries that fit, in their order."""
    recorder = Recorder(Scheduler())
    for mono in range(100):
        recorder.handle(Woke(), Now(mono, mono))
    paths = [trace.write_ring(tmp_path, recorder.ring) for _ in range(5)]
    assert paths[2:] == sorted(tmp_path.iterdir())
    assert list(range(1, 101)) == [line["number"] for line in trace.read(paths[-1]) if "told" in line]
    monkeypatch.setattr(trace, "LIMIT", 2000)
    few = trace.write_ring(tmp_path, recorder.ring)
    numbers = [line["number"] for line in trace.read(few) if "told" in line]
    assert (100, list(range(numbers[0], 101))) == (numbers[-1], numbers)
    assert few.stat().st_size < 2100


def test_a_trace_of_a_bug_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, no part of it is left, and it is tried again no sooner than another would be written."""
    tries: list[object] = []

    class Full(io.BytesIO):
        def writelines(self, lines: object) -> None:
            tries.append(lines)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def bug(*_: object) -> None:
        raise IndexError("no such step")

    texts: list[str] = []
    monkeypatch.setattr(trace, "open", lambda number, _mode: os.close(number) or Full(), raising=False)
    scheduler = Scheduler()
    monkeypatch.setattr(scheduler, "handle", bug)
    log = Log("text")
    monkeypatch.setattr(log, "say", lambda _event, text: texts.append(text))
    decisions = Decisions(scheduler, log, tmp_path, None)
    for number in range(20):
        decisions.about([JobsRead(f"{number}.yaml", ())], Now(0, number * MINUTE))
    assert (20, 2, []) == (len(texts), len(tries), list(tmp_path.iterdir()))
    assert all(f"no trace could be written to {tmp_path}: No space left on device" in text for text in texts)


def test_answers_that_a_bug_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asker learns where the bug is and nothing of what it met; the log has it once each ten minutes."""
    texts: list[str] = []
    log = Log("text")
    monkeypatch.setattr(log, "say", lambda _event, text: texts.append(text))
    decisions = Decisions(Scheduler(), log, tmp_path, None)
    for number in range(21):
        try:
            raise KeyError(f"secret {number}\n")
        except KeyError as error:
            where = decisions.unanswered("a call of uid 7, io.jobqueue.List", error, Now(0, number * MINUTE))
        assert re.fullmatch(r"KeyError \(test_trace\.py:\d+\)", where)
    assert ["secret 0", "secret 10", "secret 20"] == [re.findall(r"secret \d+", text)[0] for text in texts]
    assert all(text.isprintable() for text in texts)


def test_an_end_that_can_not_be_taken_in(host: Host) -> None:
    """The run is lost with the bug as its reason, its claims are free, the trace is written, and all else goes on."""
    broken(host, *fails("type(event) is RunEnded and event.run.job == 'bad'"))
    host.write("jobs.yaml", "jobs: {bad: {command: exit 1, exclusive: true}, good: {command: 'true'}}")
    host.start()
    record = host.wait(host.run("bad"))
    assert "lost" == record["state"]
    assert record["reason"].startswith("a bug in jobqueued: its end could not be handled: IndexError: no such step (")
    assert "succeeded" == host.wait(host.run("good"))["state"]
    (said,) = host.said("bug")
    (path,) = (host.root / "state").glob("bug-*.trace")
    assert said["message"].startswith(
        "the end of bad@1.1 could not be handled, so the run counts as lost: IndexError: "
    )
    assert f"please report this bug with {path}" in said["message"]
    bugs = [line for line in trace.read(path) if line.get("bug")]
    assert ["IndexError: no such step"] == [line["bug"] for line in bugs]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    wait_for(lambda: host.marks() == [])
    assert "bug: IndexError: no such step" in read("story", path, "bad@1")[1]


def test_an_attempt_that_is_set_aside(host: Host) -> None:
    """If not even its loss can be taken in: its directory stays, status names it, and a later daemon takes it in."""
    broken(host, *fails("type(event) in (RunEnded, RunLost) and event.run.job == 'bad'"))
    host.write("jobs.yaml", "jobs: {bad: {command: exit 7}, good: {command: 'true'}}")
    host.start()
    bad = host.run("bad")
    wait_for(lambda: host.said("bug"))
    assert "succeeded" == host.wait(host.run("good"))["state"]
    told = "bad@1.1 is set aside: its end could not be handled, so the run counts as live until the next start"
    assert told in host.call("Status")["troubles"]
    assert host.said("bug")[0]["message"].startswith(f"{told}: IndexError: no such step (")
    assert ["bad@1.1"] == host.marks()
    host.stop()
    host.program = ("-m", "jobqueued")
    host.start()
    assert ("failed", 7) == ((record := host.wait(bad))["state"], record["exit_code"])
    wait_for(lambda: host.marks() == [])


def test_who_asks_is_told_of_a_bug(host: Host) -> None:
    """Nobody waits for ever for an answer that never comes."""
    broken(host, *fails("type(event) is RunAsked"))
    host.write("jobs.yaml", "jobs: {a: {command: 'true'}}")
    host.start("--trace", str(host.root / "trace"))
    answer = host.call("Run", job="a")
    assert "io.jobqueue.Refused" == answer["error"]
    assert answer["reason"].startswith("a bug in jobqueued: IndexError: no such step (")
    (said,) = host.said("bug")
    assert f"please report this bug with {host.root}/trace" in said["message"]
    assert [] == list((host.root / "state").glob("bug-*"))
    last = [json.loads(line) for line in (host.root / "trace").read_text().splitlines()]
    assert "RunAsked" in [line["told"]["is"] for line in last if "told" in line]


def test_a_scheduler_that_is_stuck(host: Host) -> None:
    """While it can't be decided who starts, ends are taken in and people answered; then it goes on by itself."""
    broken(
        host,
        "import os",
        "from jobqueued.daemon import decisions",
        "from jobqueued.core.scheduler import Scheduler",
        "decisions._AGAIN = 10**8",
        "before = Scheduler.admit",
        "def admit(self, now):",
        f"    assert not os.path.exists({str(host.root / 'stuck')!r}), 'stuck'",
        "    return before(self, now)",
        "Scheduler.admit = admit",
    )
    host.write("jobs.yaml", f"jobs: {{a: {{command: 'while [ ! -e {host.root}/go ]; do sleep 0.05; done'}}}}")
    host.start()
    first = host.run("a")
    wait_for(lambda: host.call("Show", run=first)["record"]["pid"])
    (host.root / "stuck").touch()
    (host.root / "go").touch()
    assert "succeeded" == host.wait(first)["state"]
    second = host.run("a")
    assert "nothing new starts" in wait_for(lambda: host.call("Status")["troubles"])[0]
    assert host.call("Show", run=second)["record"]["state"] in ("due", "waiting")
    (host.root / "stuck").unlink()
    assert "succeeded" == host.wait(second)["state"]
    assert [] == host.call("Status")["troubles"]
    assert 1 == len(host.said("bug"))
