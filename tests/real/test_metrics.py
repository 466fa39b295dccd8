"""Metrics of a real daemon, as Prometheus gets them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import DEADLINE, Host, wait_for
from tests.support.metrics import Values, values

JOBS = """
jobs:
  good: {command: "true"}
  bad: {command: "exit 3"}
  long: {command: sleep 1000, locks: [{path: '%s/a "quoted" lock'}]}
"""
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
WITHOUT = """
import sys
sys.modules["prometheus_client"] = None
from jobqueued.ctl.main import main
main()
"""


def ctl(
    host: Host, *words: str, program: tuple[str, ...] = ("-m", "jobqueued.ctl")
) -> subprocess.CompletedProcess[str]:
    """What jobqueuectl says to these words."""
    command = [sys.executable, *program, "--root", str(host.root), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


class Listener:
    """A `jobqueuectl metrics --listen` on a free port of loopback."""

    def __init__(self, host: Host, *words: str) -> None:
        self._log = host.root / "listener.log"
        command = [sys.executable, "-m", "jobqueued.ctl", "--root", str(host.root), "metrics", *words, "--listen", "0"]
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(command, stderr=log)
        wait_for(lambda: "listening on" in self.said() or self.process.poll() is not None)
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.said())
        assert found, self.said()
        self.port = int(found[1])

    def said(self) -> str:
        return self._log.read_text()

    def scrape(self) -> Values:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/metrics", headers=OPENMETRICS)
        with urllib.request.urlopen(request, timeout=DEADLINE) as reply:
            assert "openmetrics" in reply.headers["Content-Type"]
            return values(reply.read().decode())

    def close(self) -> None:
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0


@pytest.fixture
def listener(host: Host) -> Iterator[Listener]:
    """A listener, and the host whose daemon it asks, with some runs."""
    host.write("jobs.yaml", JOBS % host.root)
    host.start()
    for job in ("good", "good", "bad"):
        host.wait(host.run(job))
    run = host.run("long")
    wait_for(lambda: host.call("Show", run=run)["record"]["state"] == "running")
    listener = Listener(host, "--usage")
    yield listener
    listener.close()


def test_a_scrape(host: Host, listener: Listener) -> None:
    """Over HTTP comes what was run; the command prints the same; the daemon's end is told, and its return."""
    got = listener.scrape()
    assert (2, 1) == (
        got["jobqueue_runs_ended_total", ("good", "succeeded")], got["jobqueue_runs_ended_total", ("bad", "failed")],
    )  # fmt: skip
    assert (1, 1, 3) == tuple(got[f"jobqueue_{name}", ()] for name in ("up", "launcher_up", "jobs"))
    assert 4 == got["jobqueue_start_delay_seconds_count", ()]
    assert 3 == got["jobqueue_run_seconds_count", ()]
    assert 0 < got["jobqueue_commit_seconds_count", ()]
    assert 1 <= got["jobqueue_job_tasks", ("long",)]
    assert 1 == got["jobqueue_lock_holders", (f'{host.root}/a "quoted" lock',)]
    printed = ctl(host, "metrics")
    assert (0, "") == (printed.returncode, printed.stderr)
    assert got.keys() - values(printed.stdout).keys() == {
        ("jobqueue_up", ()), *((f"jobqueue_job_{name}", ("long",)) for name in ("cpus", "memory_bytes", "tasks")),
    }  # fmt: skip
    document = json.loads(ctl(host, "metrics", "--json").stdout)
    assert {"schema", "families"} == document.keys()
    host.kill()
    assert {("jobqueue_up", ()): 0} == listener.scrape()
    assert "it is not running" in listener.said()
    host.start()
    assert 1 == listener.scrape()["jobqueue_up", ()]


def test_those_who_only_keep_a_place(listener: Listener) -> None:
    """Connections that say nothing hinder nobody, and those beyond the bound are closed at once."""
    silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(10)]
    assert 1 == listener.scrape()["jobqueue_up", ()]
    silent += [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(10)]
    silent[-1].settimeout(DEADLINE)
    assert b"" == silent[-1].recv(1)
    for connection in silent:
        connection.close()

    def is_served() -> bool:
        try:
            return listener.scrape()["jobqueue_up", ()] == 1
        except (urllib.error.URLError, ConnectionError):
            return False

    wait_for(is_served)
    assert "Traceback" not in listener.said()


def test_without_the_library(tmp_path: Path) -> None:
    """What is printed needs none, and what is missing is said with where to get it."""
    host = Host(tmp_path / "host")
    try:
        host.start()
        assert 0 == ctl(host, "metrics", program=("-c", WITHOUT)).returncode
        refused = ctl(host, "metrics", "--listen", "0", program=("-c", WITHOUT))
        assert 2 == refused.returncode
        assert "apt install python3-prometheus-client" in refused.stderr
    finally:
        host.close()


@pytest.mark.parametrize("given", ["x", "127.0.0.1", "localhost:9753", "9753x", "1:99999", ":", "[::1]"])
def test_where_to_listen(host: Host, given: str) -> None:
    """An address is one, not a name, and the port is one."""
    refused = ctl(host, "metrics", "--listen", given)
    assert (2, True) == (refused.returncode, "accepted: a port such as 9753" in refused.stderr)


def test_a_port_that_is_taken(host: Host) -> None:
    """It is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = ctl(host, "metrics", "--listen", str(taken.getsockname()[1]))
    assert (2, True) == (refused.returncode, "Address already in use" in refused.stderr)
