"""jobqueuectl watch, beside a daemon."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.client import PROGRAM, environment, run
from tests.support.host import Host, wait_for
from tests.support.users import ME

JOBS = "jobs: {good: {command: 'echo well'}, bad: {command: 'exit 3'}}"


@contextmanager
def watching(host: Host, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`watch --json` with these words, once it is told of everything."""
    command = [*PROGRAM, "--root", str(host.root), "watch", "--json", *words]
    with subprocess.Popen(command, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as it:
        assert {"schema": 1, "event": "watching"} == told(it)
        yield it
        it.kill()


def told(program: subprocess.Popen[str]) -> Any:
    """The next line."""
    assert program.stdout is not None
    return json.loads(program.stdout.readline())


def test_a_program_drives_a_job(host: Host) -> None:
    """Watch, run, and hear of the end, with the record as `show` has it."""
    host.write("jobs.yaml", JOBS)
    host.start()
    with watching(host, "-e", "run_ended", "bad", "-n", "1") as program:
        host.wait(host.run("good"))
        name = host.run("bad")
        line = told(program)
        assert ("run_ended", name, "failed", 3) == (
            line["event"],
            line["run"],
            line["state"],
            line["record"]["exit_code"],
        )
        assert line["record"] == {**host.call("Show", run=name)["record"], "asked_by_name": ME.pw_name}
        assert program.wait(10) == 0, "one was asked for"


def test_the_daemon_ends(host: Host) -> None:
    """That is said, with what to do, and is no success."""
    host.write("jobs.yaml", JOBS)
    host.start()
    with watching(host) as program:
        host.stop()
        lines = program.stdout.read() if program.stdout else ""
        assert [json.loads(line)["event"] for line in lines.splitlines()][-1:] in ([], ["stopped"])
        assert program.wait(10) == 2
        assert program.stderr is not None
        assert program.stderr.read() == "Error: the daemon closed the connection; see its log\n"


def test_nobody_reads_any_more(host: Host) -> None:
    """`watch | head -1` ends with head, though nothing more is said; a person's ^C has its own status."""
    host.write("jobs.yaml", JOBS)
    host.start()
    with watching(host) as program:
        assert program.stdout is not None
        program.stdout.close()
        assert program.wait(10) == 0
    with watching(host) as program:
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 130
        assert program.stderr is not None
        assert program.stderr.read() == ""
    wait_for(lambda: host.call("Status"))


def test_a_job_that_there_is_not(host: Host) -> None:
    """It is not waited for."""
    host.write("jobs.yaml", JOBS)
    host.start()
    refused = run("--root", host.root, "watch", "goof")
    assert (refused.returncode, "did you mean good?" in refused.stderr) == (1, True)
