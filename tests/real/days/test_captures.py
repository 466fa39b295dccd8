"""What the papers show of commands is what these print; that of others is beside their own tests."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from jobqueued.base.instants import SECOND, to_instant, to_text
from jobqueued.ctl.simulate import simulate, snapshot
from tests.support import REPO
from tests.support.client import run
from tests.support.host import Host
from tests.support.papers import blocks, dialogue
from tests.support.records import a_record, write


def shown(page: str) -> Iterator[tuple[list[str], str]]:
    """The commands of a page, as words behind the name of the program, with what it says that they print."""
    for block in blocks((REPO / "docs" / page).read_text()):
        yield from ((command.split()[1:], printed) for command, printed in dialogue(block) if "\n" in printed)


def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finding at the head of the page is that of the file above it."""
    (_, file), (words, printed) = shown("check.md")
    (tmp_path / "backup.yaml").write_text(file)
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert (printed, "", 1) == (done.stdout, done.stderr, done.returncode)


TABLE = """\
# Nightly work of Alice.

PATH=/usr/bin:/bin
MAILTO=alice@example.org

# the dump, all of it
30 2 * * * /opt/dump --all
5 7 * * 1-5 /opt/report --mail
"""


def test_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job file of moving-from-cron.md is what becomes of such a crontab."""
    place = "/var/spool/cron/crontabs/"
    page = (REPO / "docs" / "moving-from-cron.md").read_text()
    (file,) = (block for block in blocks(page) if block.startswith(f"# From {place}"))
    (tmp_path / "alice").write_text(TABLE)
    (tmp_path / "jobqueued.yaml").write_text("mail: {smtp: smtp://localhost}\n")
    monkeypatch.chdir(tmp_path)
    done = run("--root", tmp_path, "import", "--kind", "user", "--user", "alice", "alice")
    assert (0, file.replace(place, "")) == (done.returncode, done.stdout), done.stderr


NIGHTS = """\
jobs:
  backup: {command: backup, schedule: "0 2 * * *", locks: [database]}
  report: {command: report, schedule: "5 3 * * *", locks: [database]}
  export: {command: export, schedule: "10 3 * * *", locks: [database]}
  poll:   {command: poll, schedule: "*/10 * * * *"}
"""
TOOK = {"backup": (3000, 4800), "report": (900, 1500), "export": (600, 1200), "poll": (1, 2)}
"""How many seconds a run takes, at least and at most."""


def test_simulate(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The week that the page shows is what comes of four jobs, their histories, and that instant."""
    ((words, printed),) = shown("simulate.md")
    (begin,) = re.findall(r" from (\S+ \S+) UTC,", printed)
    monkeypatch.setattr(snapshot.time, "time_ns", lambda: to_instant(datetime.fromisoformat(f"{begin}Z")))
    monkeypatch.setattr(simulate, "machine_id", lambda: "0" * 32)
    host.write("nights.yaml", NIGHTS)
    (host.root / "jobqueued.yaml").write_text("timezone: UTC\n")
    for job, (least, most) in TOOK.items():
        chance = random.Random(job)
        for number in range(1, 51):
            record = a_record(number, job=job)
            (attempt,) = record["attempts"]
            began, took = datetime.fromisoformat(str(attempt["started"])), round(chance.uniform(least, most) * SECOND)
            attempt["ended"] = to_text(to_instant(began) + took)
            (host.root / "logs" / job).mkdir(parents=True, exist_ok=True)
            write(host.root / "logs", record)
    host.start()
    done = run("--root", host.root, *words)
    assert (printed, "") == (done.stdout, done.stderr), done.stdout


def test_telemetry(host: Host) -> None:
    """What the hooks of the page say, and that one of them failed, is shown as the page has it."""
    page = (REPO / "docs" / "telemetry.md").read_text()
    file, warning = blocks(page)
    (rows,) = re.findall(r"`telemetry  (.*)`", page)
    (host.root / "rows").write_text(rows)
    (host.root / "push-metrics").write_text("#!/bin/sh\necho connection refused >&2; exit 7\n")
    (host.root / "push-metrics").chmod(0o755)
    here = {
        "/usr/local/bin/import-orders": "'true'", "- /usr/local/bin/": "- command: ./", "psql .*": "cat rows",
        'schedule: ".*"': f"working_directory: {host.root}",
    }  # fmt: skip
    for theirs, ours in here.items():
        file = re.sub(theirs, ours, file)
    host.write("orders.yaml", file)
    host.start()
    assert "succeeded" == host.wait(host.run("import-orders"))["state"]
    done = run("--root", host.root, "show", "import-orders@1")
    assert rows in re.findall(r"^telemetry +(.*)$", done.stdout, re.M), done.stdout
    assert warning.strip().replace("/usr/local/bin/", "./") in done.stdout


def test_trace(host: Host) -> None:
    """The entry of the page has the fields, in their order, that one of such an event has, and some of its commands."""
    (shown,) = (block for block in blocks((REPO / "docs" / "trace.md").read_text()) if block.startswith("{"))
    told, decided = map(json.loads, shown.replace(", …", "").splitlines())
    trace = host.root / "trace"
    host.write("a.yaml", "jobs: {a: {command: 'true'}}")
    host.start("--trace", str(trace))
    host.wait(host.run("a"))
    host.stop()
    found = [json.loads(line) for line in trace.read_text().splitlines()]
    it = next(it for it in found if it.get("told", {}).get("is") == told["told"]["is"])
    then = next(it_ for it_ in found if "decided" in it_ and it_["number"] == it["number"])
    assert (list(told), list(decided)) == (list(it), list(then))
    assert {one["is"] for one in decided["decided"]} <= {one["is"] for one in then["decided"]}
