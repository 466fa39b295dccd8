"""jobqueuectl logs of a run that waits for its next attempt."""

from __future__ import annotations

import re
import subprocess

import pytest

from jobqueued.ctl.base.output import DaemonSource
from jobqueued.model.run import RunId
from tests.support.client import PROGRAM, environment, run_raw
from tests.support.host import DEADLINE, Host, wait_for

WAIT = r"its last attempt failed \(exit code 1\); attempt 2 in (1 h|59 min)[^;]*; to start it now: jobqueuectl .*retry "


@pytest.fixture
def silent(host: Host) -> Host:
    """A host with a run of `a` that had output, and one whose first attempt wrote nothing and failed."""
    command = "case $JOBQUEUE_RUN.$JOBQUEUE_ATTEMPT in a@1.*) echo old;; *.1) exit 1;; *) echo new;; esac"
    wrong = 'b: {command: "echo wrong; exit 1", retries: 1, retry_delay: 1h}'
    host.write("a.yaml", f'jobs: {{a: {{command: "{command}", retries: 1, retry_delay: 1h}}, {wrong}}}')
    host.start()
    host.wait(host.run("a"))
    host.run("a")
    wait_for(lambda: host.said("run_retrying"))
    return host


def test_no_output_yet(silent: Host) -> None:
    """The run is named, when its next attempt is, and that it has no output; an older run's output is not printed."""
    for name in ("a", "a@2"):
        for options in ((), ("--json",), ("-n", "3"), ("-a", "1")):
            shown = run_raw("--root", silent.root, "logs", name, *options)
            assert (1, b"") == (shown.returncode, shown.stdout)
            text = shown.stderr.decode()
            assert re.search(f"^Error: no output of a@2: it has written nothing so far; {WAIT}a@2$", text, re.M), text
            assert (name == "a") == bool(re.search("^a@2, retrying .* ago$", text, re.M))


def test_follow_the_next_attempt(silent: Host) -> None:
    """`logs -f` says when the next attempt starts, and prints its output."""
    command = [*PROGRAM, "--root", str(silent.root), "logs", "-f", "a"]
    follower = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, text=True
    )
    assert follower.stderr is not None
    assert re.fullmatch("a@2, retrying .* ago\n", follower.stderr.readline())
    assert re.fullmatch(f"a@2: {WAIT}a@2\n", follower.stderr.readline())
    silent.call("Retry", run="a@2")
    out, said = follower.communicate(timeout=DEADLINE)
    assert (0, "new\n") == (follower.returncode, out)
    assert said.startswith("a@2 succeeded")


@pytest.mark.parametrize(("method", "state"), [("Pause", "due"), ("Hold", "waiting")])
def test_after_the_delay(silent: Host, method: str, state: str) -> None:
    """A run that can't start its next attempt is found like a run in its delay, by its job's name and its own."""
    silent.run("b")
    wait_for(lambda: 2 == len(silent.said("run_retrying")))
    for job, run in (("a", "a@2"), ("b", "b@1")):
        silent.call(method, **({"job": job} if method == "Pause" else {}))
        assert state == silent.call("Retry", run=run)["state"]
        assert run == silent.call("History", job=job)["runs"][0]["run"]
        assert [] == silent.call("History", job=job, states=["retrying"])["runs"]
    for name in ("a", "a@2"):
        shown = run_raw("--root", silent.root, "logs", name)
        assert (1, b"") == (shown.returncode, shown.stdout)
        assert re.search(
            "^Error: no output of a@2: it has written nothing so far; .*(paused|hold)", shown.stderr.decode(), re.M
        )
    shown = run_raw("--root", silent.root, "logs", "b")
    assert (0, b"wrong\n") == (shown.returncode, shown.stdout)
    assert shown.stderr.startswith(f"b@1, {state} ".encode())
    shown = run_raw("--root", silent.root, "timeline")
    assert re.search(r"^b +r░* *$", shown.stdout.decode(), re.M), shown.stdout.decode()
    command = [*PROGRAM, "--root", str(silent.root), "logs", "-f", "b"]
    follower = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert follower.stderr is not None
    said = follower.stderr.readline() + follower.stderr.readline()
    assert re.match(f"b@1, {state} .*\nb@1: .*(paused|hold)", said), said
    silent.call("Stop", run="b@1")
    assert "wrong\n" == follower.communicate(timeout=DEADLINE)[0]


def test_without_the_daemon(silent: Host) -> None:
    """Files do not show when the next attempt is."""
    silent.kill()
    shown = run_raw("--root", silent.root, "logs", "a")
    told = b"Error: no output of a@2: it has written nothing so far; it waits for its next attempt\n"
    assert (1, b"", True) == (shown.returncode, shown.stdout, shown.stderr.endswith(told)), shown.stderr


def test_no_output_by_the_daemon(silent: Host) -> None:
    """A user who may not read the file gets the same answer."""
    source = DaemonSource(silent.root / "run/control", RunId("a", 2))
    for read in (source.size, lambda: source.read(0, 9)):
        with pytest.raises(FileNotFoundError):
            read()
    assert b"old\n" == DaemonSource(silent.root / "run/control", RunId("a", 1)).read(0, 9)
