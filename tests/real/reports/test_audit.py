"""jobqueuectl audit, against a real daemon: a life with edits and restarts is clean; what somebody removes is seen."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any

from tests.support import REPO
from tests.support.client import run
from tests.support.host import Host, wait_for
from tests.support.papers import blocks, dialogue, lasting

SECONDLY = "jobs:\n  tick: {command: 'true', schedule: '* * * * *', seconds: '*'}\n"


def audit(host: Host, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit status, and what it found."""
    done = run("--root", host.root, "audit", "--json", *words)
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def ended(host: Host, job: str, count: int) -> None:
    """Wait until so many runs have a record file."""
    logs = host.root / "logs" / job
    wait_for(lambda: len(list(logs.glob("*.json"))) >= count, why=f"{count} runs of {job}")


def forget(host: Host, run: str) -> None:
    """Remove a record from the files and from state.db, while the daemon is down."""
    job, _, number = run.rpartition("@")
    (host.root / "logs" / job / f"{number}.json").unlink()
    with sqlite3.connect(host.root / "state" / "state.db") as db:
        assert 1 == db.execute("DELETE FROM run WHERE job = ? AND number = ?", (job, number)).rowcount
    db.close()


def test_a_life(host: Host) -> None:
    """Runs, an edit, a kill, an edit while it is down, restarts: all is there; a record that is removed is missed."""
    host.write("a.yaml", SECONDLY)
    host.start()
    ended(host, "tick", 2)
    host.write("a.yaml", SECONDLY.replace("'*'}", "'*/2'}"))
    wait_for(lambda: len(host.said("jobs_read")) == 2)
    ended(host, "tick", 4)
    host.kill()
    host.write("a.yaml", SECONDLY.replace("'*'}", "'*', description: x}"))
    host.start()
    ended(host, "tick", 9)
    host.stop()
    status, found = audit(host)
    assert (0, False, [], []) == (status, found["daemon"], found["findings"], found["unreadable"])
    assert found["due"] >= 5
    record = host.record("tick@6")
    assert record is not None
    forget(host, "tick@6")
    for is_up in (False, True):
        if is_up:
            host.start()
        status, found = audit(host, "tick")
        assert (1, is_up) == (status, found["daemon"])
        (hole,) = found["findings"]
        cause = "the record of tick@6 is missing: it was deleted or damaged"
        told = ("tick", "hole", record["due"], record["due"], 1, ["tick@6"], cause)
        assert told == tuple(hole[name] for name in ("job", "what", "first", "last", "count", "runs", "cause"))
    for words, told in (
        (("--until", "1970-01-01T00:00Z"), "there is no data before 1970-01-01 00:00:00 UTC: all files and "),
        (("--since", "0s"), "there is no data yet after "),
        (("--since", "today", "--until", "yesterday"), "is not before --until ("),
    ):
        empty = run("--root", host.root, "audit", *words)
        assert (True, "", True) == (empty.returncode > 0, empty.stdout, told in empty.stderr), empty
    said = run("--root", host.root, "audit")
    assert 1 == said.returncode
    (block,) = (it for it in blocks((REPO / "docs" / "audit.md").read_text()) if it.startswith("$ "))
    ((command, shown),) = dialogue(block)
    assert "jobqueuectl audit" == command
    assert [re.sub(r"^\d+ due", "N due", line) for line in lasting(shown)] == [
        re.sub(r"^\d+ due", "N due", line) for line in lasting(said.stdout)[: len(lasting(shown))]
    ]
    refused = run("--root", host.root, "audit", "tock")
    assert (1, f"Error: no recorded schedule made tock due; see: jobqueuectl --root {host.root} list\n") == (
        refused.returncode, refused.stderr
    )  # fmt: skip


def test_nothing_to_read(host: Host) -> None:
    """Without a daemon, and without a state, there is one sentence about each; without a job file nothing is clean."""
    done = run("--root", host.root, "audit")
    assert (2, "") == (done.returncode, done.stdout)
    assert "Without the daemon, state.db is needed, but it can't be read: " in done.stderr
    host.start()
    done = run("--root", host.root, "audit")
    assert (2, "") == (done.returncode, done.stdout)
    assert (
        "Error: no text of a job file is recorded; the daemon records each file at its start and when "
        "the file changes\n" == done.stderr
    )
