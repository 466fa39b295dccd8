"""jobqueuectl logs: output as it was written, harmless on a terminal, followed to the end without the daemon too."""

from __future__ import annotations

import grp
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueued.ctl.base import output
from jobqueued.ctl.base.client import ask
from jobqueued.ctl.base.output import beginning_of_last
from jobqueued.ctl.main import main
from jobqueued.ctl.view.logs import _no_output
from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files
from tests.support.answers import LIVE, RECORD
from tests.support.client import PROGRAM, environment, harmful, on_terminal, run_raw
from tests.support.host import DEADLINE, Host, wait_for
from tests.support.users import NEEDS_ROOT, STRANGER

HOSTILE = r"\033]0;owned\007\033[2J\033[31mred\033[0m\r\033[1A\342\200\256evil\303(\377\t|\n"

GROUP = 1
"""A group that has a name, daemon, wherever there are any."""


def logs(root: Path, *arguments: str | int) -> subprocess.CompletedProcess[bytes]:
    """``jobqueuectl logs``, run to its end."""
    return run_raw("--root", root, "logs", *arguments)


class Follower:
    """``jobqueuectl logs`` while it runs."""

    def __init__(self, root: Path, *arguments: str) -> None:
        command = [*PROGRAM, "--root", str(root), "logs", *arguments]
        self.program = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )

    def line(self) -> bytes:
        """The next line of output."""
        assert self.program.stdout is not None
        return self.program.stdout.readline()

    def end(self) -> tuple[int, bytes, str]:
        """Exit status, the rest of the output, and what was said of it."""
        rest, said = self.program.communicate(timeout=DEADLINE)
        return self.program.returncode, rest, said.decode()


@pytest.fixture
def fifo(host: Host) -> Iterator[int]:
    """The writing end of what the job `echo` copies to its output until it is closed."""
    path = host.root / "fifo"
    os.mkfifo(path)
    host.write("a.yaml", f"jobs: {{echo: {{command: [/bin/cat, {path}]}}, none: {{command: 'true'}}}}")
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A root without a daemon, with records of `nightly-backup` and an output of two attempts in 142.log."""
    directory = tmp_path / "logs" / "nightly-backup"
    directory.mkdir(parents=True)
    ended = RECORD["attempts"][0]
    first, second = ({**ended, "attempt": n, "output": {"offset": at, "bytes": 6}} for n, at in ((1, 0), (2, 6)))
    (directory / "142.json").write_text(json.dumps({**RECORD, "attempts": [first, second]}))
    (directory / "142.log").write_bytes(b"one 1\ntwo 2\n")
    return tmp_path


def amend(root: Path, number: int = 142, **change: Any) -> None:
    """Change what a record says."""
    path = root / "logs" / "nightly-backup" / f"{number}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


class TestWhole:
    def test_bytes(self, host: Host) -> None:
        """A pipe gets what the job wrote, byte for byte, and nothing else."""
        host.write("a.yaml", f"jobs: {{evil: {{command: \"printf '{HOSTILE.replace(chr(92), chr(92) * 2)}'\"}}}}")
        host.start()
        run = host.run("evil")
        host.wait(run)
        shown = logs(host.root, run)
        assert (0, host.output(run), b"") == (shown.returncode, shown.stdout, shown.stderr)
        assert b"\x1b]0;owned\x07" in shown.stdout

    def test_terminal(self, kept: Path) -> None:
        """A terminal gets text, line ends and tabs; with --colour also colours, and its own one back at the end."""
        data = HOSTILE.encode().decode("unicode_escape").encode("latin-1")
        (kept / "logs/nightly-backup/142.log").write_bytes(data)
        plain, coloured = (on_terminal(200, "--root", kept, "logs", "nightly-backup@142", *o) for o in ([], ["-c"]))
        text = r"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\r\x1b[1A\u202eevil\xc3(\xff"
        assert f"{text}\t|\r\n" in plain
        assert set() == harmful(plain.replace("\r\n", "\n"))
        colours = text.replace(r"\x1b[31m", "\x1b[31m").replace(r"\x1b[0m", "\x1b[0m")
        assert f"{colours}\t|\r\n\x1b[0m" in coloured

    def test_cut_sequences(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A character or colour that two reads share is still one."""
        written: list[str] = []
        monkeypatch.setattr(sys, "stdout", type("Tty", (), {
            "isatty": lambda _: True, "write": lambda _, text: written.append(text), "flush": lambda _: None,
        })())  # fmt: skip
        sink = output.Copy(colour=True)
        for byte in "ä\x1b[1;31mx\x1b[0m\x1b[3".encode():
            sink.write(bytes([byte]))
        sink.close()
        assert "ä\x1b[1;31mx\x1b[0m" + r"\x1b[3" + "\x1b[0m\n" == "".join(written)

    def test_a_run_that_waits_for_a_retry(self, host: Host) -> None:
        """It is the newest run with output, and a follower waits for its next attempt."""
        host.write("a.yaml", "jobs: {flaky: {command: 'echo $JOBQUEUE_RUN; exit 1', retries: 1, retry_delay: 1h}}")
        host.start()
        for count in (1, 2):
            run = host.run("flaky")
            wait_for(lambda count=count: count == len(host.said("run_retrying")))  # type: ignore[misc]
            if count == 1:
                host.call("Stop", run=run)
        shown = logs(host.root, "flaky")
        assert (0, b"flaky@2\n") == (shown.returncode, shown.stdout), shown.stderr
        assert shown.stderr.startswith(b"flaky@2, retrying")
        follower = Follower(host.root, "-f", "flaky")
        assert b"flaky@2\n" == follower.line()
        host.call("Stop", run="flaky@2")
        code, rest, said = follower.end()
        assert (1, b"") == (code, rest)
        assert "flaky@2: it" in said

    def test_newest_with_output(self, host: Host, fifo: int) -> None:
        """The newest run of a job that has output is printed, and named on stderr; without any the answer is no."""
        host.start()
        os.write(fifo, b"first\n")
        run = host.run("echo")
        follower = Follower(host.root, "-f", run)
        assert b"first\n" == follower.line()
        shown = logs(host.root, "echo")
        assert (0, b"first\n") == (shown.returncode, shown.stdout)
        assert shown.stderr.startswith(b"echo@1, running since ")
        host.wait(host.run("none"))
        nothing = logs(host.root, "none")
        assert (1, b"", b"Error: no run of none has output\n") == (nothing.returncode, nothing.stdout, nothing.stderr)
        unknown = logs(host.root, "unknown")
        assert (1, True) == (unknown.returncode, b"no such job: unknown" in unknown.stderr)

    def test_attempts(self, kept: Path) -> None:
        """--attempt is what that attempt wrote; which there are is said where it is another."""
        shown = [logs(kept, "nightly-backup@142", "--attempt", n) for n in (1, 2, 3)]
        assert [b"one 1\n", b"two 2\n", b""] == [answer.stdout for answer in shown]
        assert [0, 0, 1] == [answer.returncode for answer in shown]
        assert b"has no attempt 3, only 2 attempts" in shown[2].stderr

    def test_only_an_earlier_attempt_wrote(self, host: Host) -> None:
        """The output of every attempt counts as the run's, for the job's newest output and for the size in show."""
        tries = '[ "$JOBQUEUE_ATTEMPT" = 2 ] || { echo first; exit 1; }'
        host.write("a.yaml", f"jobs: {{tries: {{command: {json.dumps(tries)}, retries: 1, retry_delay: 1s}}}}")
        host.start()
        record = host.wait(host.run("tries"))
        assert ("succeeded", None, 2) == (record["state"], record["output"]["file"], len(record["attempts"]))
        shown = logs(host.root, "tries")
        assert (0, b"first\n") == (shown.returncode, shown.stdout)
        shown = run_raw("--root", host.root, "show", "tries@1")
        assert f"6 B in {host.root}/logs/tries/1.log".encode() in shown.stdout
        (host.root / "logs/tries/1.log").unlink()
        assert b"1.log was deleted" in logs(host.root, "tries@1").stderr

    @pytest.mark.parametrize(
        ("lines", "text"), [(0, b""), (1, b"two 2\n"), (2, b"one 1\ntwo 2\n"), (99, b"one 1\ntwo 2\n")]
    )
    def test_last_lines(self, kept: Path, lines: int, text: bytes) -> None:
        """-n prints the last lines only."""
        assert text == logs(kept, "nightly-backup@142", "-n", lines).stdout

    @given(st.binary(max_size=40) | st.text("a\n", max_size=40).map(str.encode), st.integers(0, 9), st.data())
    def test_any_last_lines(self, text: bytes, lines: int, data: st.DataObject) -> None:
        """The last lines are found wherever reads are cut, and in any piece of the output."""
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, len(text)))

        class Text:
            watched = None

            def read(self, offset: int, limit: int) -> bytes:
                return text[offset : offset + limit]

            def size(self) -> int:
                return len(text)

        whole, output.CHUNK = output.CHUNK, 7
        try:
            found = beginning_of_last(Text(), lines, begin, end)
        finally:
            output.CHUNK = whole
        rows = text[begin:end].split(b"\n")
        kept = [row + b"\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
        assert b"".join(kept[-lines:] if lines else []) == text[found:end]


class TestJson:
    def test_lines(self, kept: Path) -> None:
        """An object a line with its place, whatever bytes it has; the last may lack its end."""
        whole = b'one 1\n\xff\x1b[31m"\n\nend'
        (kept / "logs/nightly-backup/142.log").write_bytes(whole)
        found = [json.loads(line) for line in logs(kept, "nightly-backup@142", "--json").stdout.splitlines()]
        assert [
            (0, "one 1", True), (6, '\udcff\x1b[31m"', True), (14, "", True), (15, "end", False),
        ] == [(it["offset"], it["text"], it["newline"]) for it in found]  # fmt: skip
        assert {(1, "nightly-backup@142")} == {(it["schema"], it["run"]) for it in found}
        last = logs(kept, "nightly-backup@142", "--json", "-n", 1).stdout.splitlines()
        assert [(15, "end")] == [(it["offset"], it["text"]) for it in map(json.loads, last)]

    @given(
        st.lists(st.integers(0, 11)).map(lambda it: b"\n".join(b"a" * n for n in it)),
        st.integers(1, 9),
        st.integers(0, 99),
    )
    def test_any_lines(self, text: bytes, size: int, begin: int) -> None:
        """However reads are cut: no line is longer than the longest, and together they are what was written."""

        def printed(size: int) -> list[str]:
            shown = io.StringIO()
            with redirect_stdout(shown):
                sink = output.JsonLines(RunId("a", 1), longest=5)
                for at in range(0, len(text), size):
                    sink.write(text[at : at + size], begin + at)
                sink.close()
            return shown.getvalue().splitlines()

        assert printed(len(text) + 1) == printed(size)
        found = list(map(json.loads, printed(size)))
        pieces = [it["text"].encode() + b"\n" * it["newline"] for it in found]
        assert text == b"".join(pieces)
        assert [begin + sum(map(len, pieces[:nth])) for nth in range(len(pieces))] == [it["offset"] for it in found]
        ends = [piece.rstrip(b"\n") for piece in pieces]
        assert all(len(end) == 5 for end, it in zip(ends[:-1], found, strict=False) if not it["newline"])
        assert all(len(end) <= 5 for end in ends)

    def test_follow(self, host: Host, fifo: int) -> None:
        """A line is there once it is written, and nothing else is in the output."""
        host.start()
        follower = Follower(host.root, "-f", "--json", host.run("echo"))
        os.write(fifo, b"first\nsec")
        assert (0, "first") == ((it := json.loads(follower.line()))["offset"], it["text"])
        os.write(fifo, b"ond\n")
        assert (6, "second") == ((it := json.loads(follower.line()))["offset"], it["text"])
        host.call("Stop", run="echo@1")
        assert (1, b"") == follower.end()[:2]


class TestNone:
    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"output": {"file": None, "bytes": 0, "dropped": 0, "tail": ""}}, "it wrote nothing"),
            (
                {"output": {"file": "/x/142.log", "bytes": 9, "dropped": 0, "tail": "a"}},
                "its file /x/142.log was deleted",
            ),
            (
                {"output": {"file": None, "bytes": 9, "dropped": 0, "tail": "a"}},
                "it was not stored in a file; try `journalctl JOBQUEUE_RUN=nightly-backup@142`",
            ),
            ({"output": {"file": None, "bytes": 0, "dropped": 9, "tail": ""}}, "all 9 bytes were dropped"),
            (
                {"output": {"file": None, "bytes": 0, "dropped": 9, "tail": "", "error": "/x\x1b: disk full"}},
                r"it could not be stored: /x\x1b: disk full",
            ),
            ({"state": "skipped", "reason": "paused", "last_due": RECORD["due"], "count": 1}, "it did not run: paused"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_why(self, kept: Path, change: dict[str, Any], told: str) -> None:
        """Why there is no output is said, and the answer is no."""
        (kept / "logs/nightly-backup/142.log").unlink()
        amend(kept, **{"attempts": [{**RECORD["attempts"][0], "output": {"bytes": 0}}], **change})
        shown = logs(kept, "nightly-backup@142")
        assert (1, b"") == (shown.returncode, shown.stdout)
        assert shown.stderr.decode().endswith(f"Error: no output of nightly-backup@142: {told}\n")

    def test_dropped(self, kept: Path) -> None:
        """The amount of dropped output is reported after it."""
        amend(kept, output={**RECORD["output"], "dropped": 3 << 20})
        shown = logs(kept, "nightly-backup@142")
        assert (0, b"one 1\ntwo 2\n") == (shown.returncode, shown.stdout)
        assert b"another 3 MiB of output was dropped: output_limit reached" in shown.stderr

    @pytest.mark.parametrize("name", ["nightly-backup@7", "other", "../logs/nightly-backup@142", "../logs"])
    def test_no_record(self, kept: Path, name: str) -> None:
        """Without the daemon and without a record nothing can be told, and no name leads out of the directory."""
        shown = logs(kept, name)
        assert (2, b"", True) == (shown.returncode, shown.stdout, b"No record" in shown.stderr)


def test_lost_output_is_told(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a job is told which newer run's output was dropped; of a live one, that it is while the disk is full."""
    output = {"file": None, "bytes": 0, "dropped": 9, "tail": "", "error": "No space left on device"}
    record = {**RECORD, "run": "nightly-backup@143", "number": 143, "output": output}
    (kept / "logs" / "nightly-backup" / "143.json").write_text(json.dumps(record))
    shown = logs(kept, "nightly-backup")
    assert (0, b"one 1\ntwo 2\n") == (shown.returncode, shown.stdout)
    told = "no output of nightly-backup@143: it could not be stored: No space left on device\n"
    assert told in shown.stderr.decode()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=0))
    live = {**LIVE, "attempts": [], "output": {**output, "error": None, "dropped": 0}}
    reason = f"the run's output is dropped while {kept}/logs is full"
    assert f"no output of nightly-backup@143: {reason}" == _no_output(Paths.under(kept), live).message


class TestFollow:
    def test_to_the_end(self, host: Host, fifo: int) -> None:
        """Each line comes as it is written, the verdict at the end is the exit status."""
        host.start()
        follower = Follower(host.root, "-f", host.run("echo"))
        for line in (b"one\n", b"two\n"):
            os.write(fifo, line)
            assert line == follower.line()
        (pid,) = (int(path.read_text().split()[0]) for path in host.root.glob("run/runs/*/*/pid"))
        os.kill(pid, signal.SIGTERM)
        code, rest, said = follower.end()
        assert (1, b"") == (code, rest)
        assert said.startswith("echo@1 failed after ")
        assert said.endswith(": signal 15 (SIGTERM)\n")

    @pytest.mark.usefixtures("fifo")
    def test_ended(self, host: Host) -> None:
        """A run that has ended is printed and judged at once; one without output too."""
        host.start()
        run = host.run("none")
        host.wait(run)
        shown = logs(host.root, "-f", run)
        assert (1, b"") == (shown.returncode, shown.stdout)
        assert b"it wrote nothing" in shown.stderr

    def test_the_next_run(self, host: Host, fifo: int) -> None:
        """A job without a live run is waited for, which is said; Ctrl-C says what becomes of its run."""
        host.start()
        follower = Follower(host.root, "-f", "echo")
        assert follower.program.stderr is not None
        assert b"echo has no live run; waiting for its next run\n" == follower.program.stderr.readline()
        host.run("echo")
        os.write(fifo, b"one\n")
        assert b"one\n" == follower.line()
        follower.program.send_signal(signal.SIGINT)
        code, _, said = follower.end()
        assert (130, "a live run of echo continues; see: jobqueuectl show echo") == (code, said.splitlines()[-1])

    def test_waiting(self, host: Host, fifo: int) -> None:
        """A run that waits is followed from before its first byte; -n counts from what there was."""
        host.start()
        host.run("echo")
        waiting = host.run("echo")
        follower = Follower(host.root, "-f", "-n", "1", waiting)
        assert follower.program.stderr is not None
        assert b"echo@2 has not started yet\n" == follower.program.stderr.readline()
        for number, text in ((1, b"mine\n"), (2, b"yours\n")):
            os.write(fifo, text)
            wait_for(lambda number=number, text=text: log_of(host, f"echo@{number}") == text)
            (mark,) = host.root.glob(f"run/runs/*/echo@{number}.1/pid")
            os.kill(int(mark.read_text().split()[0]), signal.SIGTERM)
            host.wait(f"echo@{number}")
        assert (1, b"yours\n") == follower.end()[:2]

    def test_daemon_dies(self, host: Host, fifo: int) -> None:
        """When the daemon dies meanwhile, files tell the rest and the end."""
        host.start()
        follower = Follower(host.root, "-f", host.run("echo"))
        os.write(fifo, b"one\n")
        assert b"one\n" == follower.line()
        host.kill()
        os.write(fifo, b"two\n")
        assert b"two\n" == follower.line()
        (mark,) = host.root.glob("run/runs/*/*/pid")
        os.kill(int(mark.read_text().split()[0]), signal.SIGKILL)
        code, _, said = follower.end()
        assert (1, True) == (code, said.endswith(": signal 9 (SIGKILL)\n"))

    def test_supervisor_dies(self, host: Host, fifo: int) -> None:
        """When the supervisor dies without a daemon to tell, its run is lost, and nobody waits for ever."""
        host.start()
        run = host.run("echo")
        os.write(fifo, b"one\n")
        wait_for(lambda: log_of(host, run) == b"one\n")
        host.kill()
        (mark,) = host.root.glob("run/runs/*/*/pid")
        (supervisor,) = Path(f"/proc/{mark.read_text().split()[0]}/status").read_text().split("PPid:\t")[1].split()[:1]
        follower = Follower(host.root, "-f", "echo")
        assert b"one\n" == follower.line()
        os.kill(int(supervisor), signal.SIGKILL)
        code, _, said = follower.end()
        assert (1, True) == (code, "echo@1 lost: its supervisor is gone" in said), said
        command = [*PROGRAM, "--root", str(host.root), "history", "--json"]
        shown = subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=True)
        assert [("echo@1", "lost")] == [(run["run"], run["state"]) for run in json.loads(shown.stdout)["runs"]]

    def test_of_a_lost_run(self, host: Host) -> None:
        """The record of a lost run has what the file has of its output, as a whole and of its attempt."""
        host.write("a.yaml", "jobs: {a: {command: 'echo one; printf two; sleep 0.5; kill -KILL $PPID; sleep 600'}}")
        host.start()
        record = host.wait(run := host.run("a"))
        found = {"file": f"{host.root}/logs/a/1.log", "bytes": 7, "dropped": None, "tail": "one\ntwo", "journal": None}
        assert ("lost", found) == (record["state"], record["output"])
        assert [{**found, "offset": 0}] == [attempt["output"] for attempt in record["attempts"]]
        for options in ([], ["-a", "1"]):
            assert (0, b"one\ntwo") == ((shown := logs(host.root, run, *options)).returncode, shown.stdout)

    def test_an_attempt_whose_record_is_silent(self, kept: Path) -> None:
        """Attempts of lost runs did not always have an output."""
        amend(kept, state="lost", attempts=[{**RECORD["attempts"][0], "attempt": 1}])
        assert (0, b"one 1\ntwo 2\n") == ((s := logs(kept, "nightly-backup@142", "-a", "1")).returncode, s.stdout)

    def test_reader_leaves(self, host: Host, fifo: int) -> None:
        """When nobody reads any more it ends, without waiting for the next byte."""
        host.start()
        follower = Follower(host.root, "-f", host.run("echo"))
        os.write(fifo, b"one\n")
        assert b"one\n" == follower.line()
        assert follower.program.stdout is not None
        follower.program.stdout.close()
        assert follower.program.wait(DEADLINE) == 1
        assert follower.program.stderr is not None
        assert b"Traceback" not in follower.program.stderr.read()


def log_of(host: Host, run: str) -> bytes:
    """The output of a run so far; none before its file is there."""
    try:
        return host.output(run)
    except FileNotFoundError:
        return b""


class TestHuge:
    """A sparse log of 1 GiB with two short lines at its end."""

    SIZE = 1 << 30

    @pytest.fixture
    def huge(self, host: Host) -> str:
        """The run with that log."""
        host.write("a.yaml", "jobs: {a: {command: echo}}")
        host.start()
        run = host.run("a")
        host.wait(run)
        with open(record_files.output_of(host.root / "logs", RunId.parse(run)), "r+b") as log:
            log.truncate(self.SIZE)
            log.seek(self.SIZE)
            log.write(b"\nlast but one\nlast\n")
        return run

    def test_last_line(self, host: Host, huge: str) -> None:
        """The end is found from the end."""
        assert b"last but one\nlast\n" == logs(host.root, "-n", 2, huge).stdout

    def test_head(self, host: Host, huge: str) -> None:
        """A reader that has enough ends it."""
        command = [*PROGRAM, "--root", str(host.root), "logs", huge]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
            assert program.stdout is not None
            assert b"\n" + bytes(9) == program.stdout.read(10)
            program.stdout.close()
            assert program.wait(DEADLINE) == 1
            assert program.stderr is not None
            assert b"" == program.stderr.read()

    def test_paged(self, host: Host, huge: str) -> None:
        """Over varlink it comes from any byte on, 64 KiB a reply at most."""
        control = host.root / "run" / "control"
        first = ask(control, "Logs", run=huge)
        assert (self.SIZE + 19, False, (1 << 16) * 4 // 3) == (
            first["size"], first["live"], len(first["data"].rstrip("=")) - 1,
        )  # fmt: skip
        assert "last\n" == output.DaemonSource(control, RunId.parse(huge)).read(self.SIZE + 14, 1 << 62).decode()
        assert b"" == output.DaemonSource(control, RunId.parse(huge)).read(self.SIZE + 19, 9)


def begin_as_user(uid: int, groups: list[int], *arguments: str | Path) -> tuple[int, TextIO]:
    """``jobqueuectl`` run by another user: its process and all it writes.  A fork: the user might not see our files."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups(groups)
        os.setgid(uid)
        os.setuid(uid)
        os.dup2(writing, 1)
        with open(1, "w", encoding="utf-8") as screen:
            sys.stdout = sys.stderr = screen
            code = 99
            try:
                main([*map(str, arguments)])
            except SystemExit as left:
                code = int(left.code or 0)
            finally:
                screen.flush()
                os._exit(code)
    os.close(writing)
    return child, open(reading, encoding="utf-8")


def ended(child: int, screen: TextIO) -> tuple[int, str]:
    """Its exit status, and what it wrote until its end."""
    with screen:
        text = screen.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def as_user(uid: int, groups: list[int], *arguments: str | Path) -> tuple[int, str]:
    """``jobqueuectl`` run by another user to its end: exit status and all it wrote."""
    return ended(*begin_as_user(uid, groups, *arguments))


@NEEDS_ROOT
class TestUsers:
    @pytest.fixture
    def open_host(self) -> Iterator[Host]:
        """A host whose directories everybody may pass."""
        directory = Path(tempfile.mkdtemp())
        directory.chmod(0o755)
        host = Host(directory / "host")
        (host.root / "jobqueued.yaml").write_text(f"operators: {grp.getgrgid(GROUP).gr_name}\n")
        host.write("a.yaml", "jobs: {a: {command: 'echo secret'}}")
        host.start()
        host.wait(host.run("a"))
        yield host
        host.close()
        shutil.rmtree(directory)

    @pytest.mark.parametrize("down", [False, True])
    def test_stranger(self, open_host: Host, down: bool) -> None:
        """A stranger gets no output, from the daemon or from files, and is told why."""
        if down:
            open_host.kill()
        code, text = as_user(STRANGER, [], "--root", open_host.root, "logs", "a@1")
        assert (2 if down else 1, False) == (code, "secret" in text)
        assert ("No record" if down else "permission denied; run this as root") in text

    def test_group(self, open_host: Host) -> None:
        """A member of the group reads through the daemon where the files are not for it."""
        (open_host.root / "logs").chmod(0o700)
        assert (0, "secret\n") == as_user(STRANGER, [GROUP], "--root", open_host.root, "logs", "a@1")
        code, text = as_user(STRANGER, [GROUP], "--root", open_host.root, "logs", "-f", "a@1")
        assert (0, True) == (code, "secret\n" in text and "a@1 succeeded" in text)

    def test_group_follows(self, open_host: Host) -> None:
        """A follower who may not read the file is told that the rest comes at the end, and gets it."""
        (open_host.root / "logs").chmod(0o700)
        os.mkfifo(fifo := open_host.root / "fifo")
        open_host.write("b.yaml", f"jobs: {{b: {{command: 'read x < {fifo}; echo late'}}}}")
        open_host.call("Reload")
        run = open_host.run("b")
        child, screen = begin_as_user(STRANGER, [GROUP], "--root", open_host.root, "logs", "-f", run)
        assert "no permission to read the output file: the rest follows when the run ends\n" == screen.readline()
        fifo.write_text("go\n")
        code, text = ended(child, screen)
        assert (0, "late\n") == (code, text.partition("b@1 succeeded after ")[0])

    def test_what_is_hidden(self, open_host: Host) -> None:
        """Without the daemon, a user who may not look into the run directory is told that runs are not shown."""
        open_host.kill()
        code, text = as_user(STRANGER, [], "--root", open_host.root, "list")
        assert 0 == code
        assert "The live runs are missing: " in text
        assert "The records are missing: " in text
