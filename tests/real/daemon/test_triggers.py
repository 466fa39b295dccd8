"""A job that is told in its environment what made it due, by a real daemon."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

from tests.support import EXAMPLES, REPO
from tests.support.client import run
from tests.support.host import Host, wait_for

JOBS = """
defaults: {timezone: UTC, output: file}
jobs:
  backup: {command: exit 3}
  killed: {command: kill -9 $$}
  tell: {command: ENV, on: [{job: backup, result: failure}, {job: killed, result: any}, {path: "ROOT/in/*"}]}
  clock: {command: ENV, every: 1s, max_runs: 1}
"""


def told(host: Host, name: str) -> dict[str, Any]:
    """The variables that a run got about its trigger, without their common beginning; the kind is ""."""
    wait_for(lambda: host.record(name), why=name)
    variables = dict(line.split("=", 1) for line in os.fsdecode(host.output(name)).split("\0")[:-1])
    return {
        key.removeprefix("JOBQUEUE_TRIGGER").removeprefix("_"): value
        for key, value in variables.items()
        if key.startswith("JOBQUEUE_TRIGGER")
    }


def test_data_of_an_event(host: Host) -> None:
    """A run has what came with its event, also where it waited over a kill, in each attempt, and in its rerun."""
    job = "jobs: {deploy: {command: env -0; exit 1, on: {event: deployed}, retries: 1, retry_delay: 0s}}"
    host.write("jobs.yaml", job)
    host.start()
    host.call("Hold")
    data = {"version": "1.10", "why": ["é\n\0", None, 1.5]}
    (host.root / "data").write_text(json.dumps(data, indent=2))
    shown = run("--root", host.root, "emit", "deployed", "--data", f"@{host.root / 'data'}")
    assert (0, "deploy@1\n") == (shown.returncode, shown.stdout), shown.stderr
    host.kill()
    host.start()
    host.call("Release")
    record = host.wait("deploy@1")
    assert {"kind": "event", "event": "deployed", "data": data | {"why": ["é\n�", None, 1.5]}} == record["triggered_by"]
    variable = "JOBQUEUE_TRIGGER_DATA=" + json.dumps(record["triggered_by"]["data"], separators=(",", ":"))
    assert 2 == host.output("deploy@1").split(b"\0").count(variable.encode())
    host.wait(host.call("Rerun", run="deploy@1")["run"])
    assert 2 == host.output("deploy@2").split(b"\0").count(variable.encode())
    assert '"version": "1.10"' in run("--root", host.root, "show", "deploy@2").stdout


def test_told(host: Host) -> None:
    """Of the end of a run its result and record, of a file its path, whatever that is."""
    incoming = host.root / "in"
    incoming.mkdir()
    host.write("jobs.yaml", JOBS.replace("ROOT", str(host.root)).replace("ENV", "[/usr/bin/env, -0]"))
    host.start()
    host.run("backup")
    found = told(host, "tell@1")
    path = found.pop("RECORD")
    assert {"": "job", "RUN": "backup@1", "STATE": "failed", "EXIT_CODE": "3"} == found
    with open(path) as file:
        assert ("backup@1", 3) == ((record := json.load(file))["run"], record["exit_code"])

    host.run("killed")
    assert {"": "job", "RUN": "killed@1", "STATE": "failed", "SIGNAL": "9"}.items() <= told(host, "tell@2").items()
    assert "EXIT_CODE" not in told(host, "tell@2")

    name = os.fsdecode(b"\xff\n=" + b"x" * 250)
    (incoming / name).write_text("all of it")
    assert {"": "path", "PATH": str(incoming / name)} == told(host, "tell@3")
    record = host.record("tell@3") or {}
    assert {"kind": "path", "path": str(incoming / name)} == record["triggered_by"]
    shown = run("--root", host.root, "show", "tell@3").stdout
    assert re.search(r"appeared +.*/in/�\\n=xx", shown), shown

    host.call("Rerun", run="tell@3")
    assert {"": "rerun", "PATH": str(incoming / name)} == told(host, "tell@4")
    assert {"": "schedule"} == told(host, "clock@1")


def test_a_trace(host: Host) -> None:
    """A chain is one trace, from who emits to the last run; each attempt hands on its own span, unless its job does."""
    jobs = """
jobs:
  first: {command: 'env -0; test $JOBQUEUE_ATTEMPT = 2', on: {event: go}, retries: 1, retry_delay: 0s}
  calls: {command: 'env -0; CTL run last', on: {job: first}}
  last: {command: env -0}
  own: {command: env -0, environment: {TRACEPARENT: ''}}
"""
    ctl = f"PYTHONPATH={REPO} {sys.executable} -m jobqueued.ctl --root {host.root}"
    host.write("jobs.yaml", jobs.replace("CTL", ctl))
    host.start()
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    run("--root", host.root, "emit", "go", TRACEPARENT=caller)
    records = {
        name: wait_for(lambda name=name: ended(host, name), why=name) for name in ("first@1", "calls@1", "last@1")
    }
    first, calls, last = records.values()
    assert {caller[3:35]} == {record["trace_id"] for record in records.values()}
    assert caller[36:52] == first["parent_span_id"]
    assert first["span_id"] == calls["parent_span_id"]
    assert calls["attempts"][0]["span_id"] == last["parent_span_id"]
    for name, record in records.items():
        handed_on = [f"00-{record['trace_id']}-{attempt['span_id']}-01" for attempt in record["attempts"]]
        assert handed_on == re.findall("TRACEPARENT=([^\0]*)", host.output(name).decode())
    assert 2 == len(first["attempts"])
    host.wait(host.run("own"))
    assert b"TRACEPARENT=\0" in host.output("own@1")
    assert f"trace        {caller[3:35]}\n" in run("--root", host.root, "show", "first@1").stdout
    run("--root", host.root, "run", "last", TRACEPARENT="nonsense")
    alone = wait_for(lambda: ended(host, "last@2"))
    assert (None, False) == (alone["parent_span_id"], alone["trace_id"] == last["trace_id"])
    assert "traceparent" == host.call("Run", job="last", traceparent="nonsense")["parameter"]


def test_the_example_that_tells_of_failures(host: Host) -> None:
    """It tells of any job that fails, and by its own failure makes nothing due."""
    host.write("examples.yaml", EXAMPLES.read_text())
    host.write("jobs.yaml", "jobs: {broken: {command: exit 9}, dead: {command: kill -9 $$}}")
    host.start()
    host.call("Pause", job="certificate-check")
    for name, code in (("broken", "9"), ("dead", "none")):
        host.run(name)
        wanted = f"{name}@1 failed: exit code {code}\nfor more: jobqueuectl show {name}@1\n"
        wait_for(lambda wanted=wanted: wanted in told_of_failures(host), why=wanted)


def told_of_failures(host: Host) -> list[str]:
    """The outputs of all runs of the example."""
    return [path.read_text() for path in (host.root / "logs" / "report-failures").glob("*.log")]


def ended(host: Host, name: str) -> dict[str, Any] | None:
    """The record of a run that has succeeded, if there is one yet."""
    record = host.record(name)
    return record if record is not None and record["state"] == "succeeded" else None
