"""Metrics of a real daemon, as Prometheus gets them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobqueued.control.metrics_file import EVERY, HEARTBEAT, MetricsFile
from jobqueued.host.log import Log
from jobqueued.metrics.exposition import Told
from jobqueued.metrics.families import FAMILIES, Sample
from jobqueued.model.job import Now
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
    assert (2, True) == (refused.returncode, "expected a port such as 9753" in refused.stderr)


def test_a_port_that_is_taken(host: Host) -> None:
    """It is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = ctl(host, "metrics", "--listen", str(taken.getsockname()[1]))
    assert (2, True) == (refused.returncode, "Address already in use" in refused.stderr)


class Written:
    """A file of metrics that has a clock of its own; `said` are the lines of the log, `bugs` those that were told."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.mono, self.version = path, 10**12, 1
        self.said: list[str] = []
        self.bugs: list[Exception] = []
        log = Log("json")
        monkeypatch.setattr(log, "say", lambda event, **_: self.said.append(event))
        self.file = MetricsFile(
            str(path), self._told, lambda: self.version, log, lambda _, bug: str(self.bugs.append(bug))
        )

    def _told(self, _now: Now) -> Iterator[Told]:
        if self.version < 0:
            raise KeyError("x")
        for _ in range(30):
            yield FAMILIES["jobqueue_jobs"], []
        yield FAMILIES["jobqueue_runs_ended"], [[Sample("_total", {"job_id": "a", "state": "lost"}, self.version)]]

    def turn(self) -> None:
        """Turns until it is written, at the instant that it waits for."""
        deadline = self.file.deadline
        assert deadline is not None
        self.mono = max(self.mono, deadline)
        self.file.turn(Now(self.mono + 5 * 10**17, self.mono))
        while self.file.has_more:
            self.file.turn(Now(self.mono + 5 * 10**17, self.mono))

    def rest(self) -> int:
        """How long it waits until it is written again."""
        assert self.file.deadline is not None
        return self.file.deadline - self.mono

    def values(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.path.read_text())
        return {sample.name: sample.value for family in families for sample in family.samples}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """A file that was not written yet."""
    (tmp_path / "exporter").mkdir()
    return Written(tmp_path / "exporter" / "jobqueued.prom", monkeypatch)


def test_when_a_file_is_written(written: Written) -> None:
    """At once; 15 s later if anything has changed, else a minute later; with the instant, so that its age is known."""
    written.turn()
    assert 0o644 == written.path.stat().st_mode & 0o777
    assert {"jobqueue_runs_ended_total": 1, "jobqueue_written_timestamp_seconds": 500001000.0} == written.values()
    assert HEARTBEAT == written.rest()
    written.version = 2
    assert EVERY == written.rest()
    written.turn()
    assert {"jobqueue_runs_ended_total": 2, "jobqueue_written_timestamp_seconds": 500001015.0} == written.values()
    assert ["jobqueued.prom"] == [path.name for path in written.path.parent.iterdir()]
    assert [] == written.said


def test_a_file_that_can_not_be_written(written: Written) -> None:
    """It is said once, is a trouble while it lasts, and is tried by the minute; no directory is made."""
    shutil.rmtree(written.path.parent)
    for version in (1, 2):
        written.version = version
        written.turn()
        written.version += 1
        assert HEARTBEAT == written.rest()
        (trouble,) = written.file.troubles
        assert "No such file or directory" in trouble
        assert "ReadWritePaths=" in trouble
    written.path.parent.mkdir()
    written.turn()
    assert (["trouble", "recovered"], []) == (written.said, written.file.troubles)


def test_a_bug_costs_one_file(written: Written) -> None:
    """It is told, and a minute later it goes on."""
    written.version = -1
    written.turn()
    assert (1, False) == (len(written.bugs), written.file.has_more)
    assert HEARTBEAT == written.rest()
    written.version = 3
    written.turn()
    assert 3 == written.values()["jobqueue_runs_ended_total"]


def test_a_file_of_a_daemon(host: Host) -> None:
    """It is there soon after the start; one that can't be written is told by status, and nothing else is worse."""
    path, settings = host.root / "jobqueued.prom", host.root / "jobqueued.yaml"
    settings.write_text(f"metrics: {{textfile: {path}}}")
    host.write("jobs.yaml", JOBS % host.root)
    host.start("--config", str(settings))
    wait_for(path.exists)
    families = text_string_to_metric_families(path.read_text())
    assert 3 == {sample.name: sample.value for family in families for sample in family.samples}["jobqueue_jobs"]
    host.kill()
    settings.write_text("metrics: {textfile: /proc/none/jobqueued.prom}")
    host.start("--config", str(settings))
    assert "succeeded" == host.wait(host.run("good"))["state"]
    wait_for(lambda: any("metrics" in trouble for trouble in host.call("Status")["troubles"]))
