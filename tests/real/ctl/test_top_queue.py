"""What `jobqueuectl top` tells of the runs that wait."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobqueued.ctl.top import top_screen
from tests.support.client import on_terminal, run
from tests.support.host import Host, wait_for

COUNT = 240
JOBS = f"""
jobs:
  long: {{command: "sleep 600", locks: [tape], kill_grace: 1s}}
  oldest: {{command: "true", locks: [tape]}}
  bulk: {{command: "true", locks: [tape], on: [{{event: more}}], max_waiting: {COUNT}}}
"""


@pytest.fixture
def host(host: Host) -> Host:
    """One on which a run waits that is older than many others."""
    host.write("a.yaml", JOBS)
    host.start()
    host.run("long")
    wait_for(lambda: host.call("Status")["running"] == 1)
    host.run("oldest")
    for _ in range(COUNT):
        host.call("Emit", event="more")
    return host


def top(host: Host, *words: str) -> Any:
    return json.loads(run("--root", host.root, "top", "--json", *words).stdout)


def test_all_that_wait(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are, those that go next are among them, and first; where some are left out, that is said."""
    told = top(host)
    waiting = [each["run"] for each in told["waiting"]]
    assert (["oldest@1", "bulk@1", "bulk@2"], 1 + COUNT) == (waiting[:3], len(waiting))
    assert told["more_wait"] is False
    monkeypatch.setattr(top_screen, "_MOST_WAITING", 100)
    told = top(host)
    assert (100, True) == (len(told["waiting"]), told["more_wait"])
    assert "only the newest 100 waiting runs are shown" in run("--root", host.root, "top", "--once").stdout
    assert ["oldest@1"] == [each["run"] for each in top(host, "oldest", "long")["waiting"]]
    assert "(not shown here: " in on_terminal(60, "--root", host.root, "top", "--once", "long")
    assert "oldest@1  waiting" in run("--root", host.root, "top", "--once", "oldest").stdout


def test_a_submission_that_failed(host: Host) -> None:
    """For a day it is not well, as in `status`."""
    assert 1 == run("--root", host.root, "submit", "--wait", "--name", "bad", "--", "false").returncode
    assert "not well: 1 submission failed in the last 24 hours (host/bad)\n" in (
        run("--root", host.root, "top", "--once").stdout
    )


def test_no_such_job(host: Host) -> None:
    """It is no job of which nothing is live."""
    for words in (("--once",), ("--json",)):
        shown = run("--root", host.root, "top", *words, "oldst")
        assert (1, True) == (shown.returncode, "did you mean oldest?" in shown.stderr), shown.stderr


def test_the_daemon_is_down(host: Host) -> None:
    """Nobody knows what waits, and that is what is not well."""
    host.kill()
    told = top(host)
    assert (["long@1"], None, None) == ([each["run"] for each in told["runs"]], told["waiting"], told["more_wait"])
    assert "not well: the daemon is not reachable\n" in run("--root", host.root, "top", "--once").stdout
