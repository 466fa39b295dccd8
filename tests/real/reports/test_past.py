"""jobqueuectl why --at: what a real daemon keeps of people and job files, over restarts, and without it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.instants import HOUR, SECOND, to_text
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import RunState
from jobqueued.state import past
from jobqueued.state.db import rows
from jobqueued.state.db.store import Store
from tests.support.client import harmful, run
from tests.support.host import Host, wait_for
from tests.support.records import NOW, a_record

WE = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"


def now(host: Host) -> str:
    """An instant behind all that has happened so far, by the daemon's own clock."""
    return max(str(line["time"]) for line in map(json.loads, host.log().splitlines()))


def ask(host: Host, at: str, name: str = "a") -> dict[str, Any]:
    """The answer about an instant."""
    shown = run("--root", host.root, "why", name, "--at", at, "--json")
    assert 0 == shown.returncode, shown.stderr
    return dict(json.loads(shown.stdout)["past"])


def test_what_people_did(host: Host) -> None:
    """Pauses, holds, runs and the end of a definition are told, over a restart, and while it is down."""
    host.write("a.yaml", "jobs: {a: {command: exec sleep 1000}, b: {command: 'true'}}")
    host.start()
    instants = {}
    host.call("Pause", job="a")
    instants["paused"] = now(host)
    host.call("Resume", job="a")
    host.call("Hold")
    instants["held"] = now(host)
    host.call("Release")
    name = host.run("a")
    wait_for(lambda: host.said("run_started"))
    instants["running"] = now(host)
    host.call("Stop", run=name)
    host.wait(name)
    instants["not_due"] = now(host)
    host.write("a.yaml", "jobs: {b: {command: 'true'}}")
    wait_for(lambda: len(host.said("jobs_read")) == 2)
    instants["gone"] = now(host)
    for step in ("as it was", "after a restart", "without it"):
        told = {kind: ask(host, at) for kind, at in instants.items()}
        assert {"paused": "paused", "held": "not_due", "running": "running", "not_due": "not_due", "gone": "gone"} == {
            kind: it["kind"] for kind, it in told.items()
        }, step
        assert f"a was paused by {WE} since" in told["paused"]["reasons"][0]
        assert any(f"the host was on hold by {WE}" in reason for reason in told["held"]["reasons"])
        assert name == told["running"]["run"]
        assert [] == told["not_due"]["unknown"]
        host.stop()
        if step == "as it was":
            host.start()
    assert 2 == run("--root", host.root, "why", "nobody", "--at", instants["gone"]).returncode


def test_a_run_that_waits_for_a_lock(host: Host) -> None:
    """Who held what it waited for is told, of a run that waits still."""
    host.write("a.yaml", "jobs: {a: {command: sleep 1000, locks: [db]}, b: {command: sleep 1000, locks: [db]}}")
    host.start()
    host.run("a")
    wait_for(lambda: host.said("run_started"))
    host.run("b")
    host.call("Hold")
    at = now(host)
    told = ask(host, at, "b")
    assert ("waiting", "b@1") == (told["kind"], told["run"])
    assert "lock db was held by a@1" in told["reasons"]
    shown = run("--root", host.root, "why", "b", "--at", at).stdout
    assert "lock db was held by a@1" in shown


def test_a_run_that_was_skipped_later(host: Host) -> None:
    """Of a run that waited, and was stopped before its start, the wait is told, over a restart and while it is down."""
    host.write("a.yaml", "jobs: {a: {command: sleep 1000, locks: [db]}, b: {command: sleep 1000, locks: [db]}}")
    host.start()
    holder = host.run("a")
    wait_for(lambda: host.said("run_started"))
    name = host.run("b")
    host.call("Hold")
    at = now(host)
    host.call("Stop", run=name)
    host.call("Stop", run=holder)
    host.wait(holder)
    later = now(host)
    for step in ("as it was", "after a restart", "without it"):
        told = ask(host, at, "b")
        assert ("waiting", name) == (told["kind"], told["run"]), step
        assert told["reasons"][0].endswith(f": stopped by {WE}"), step
        assert "lock db was held by a@1" in told["reasons"], step
        assert "skipped" == ask(host, later, "b")["kind"], step
        host.stop()
        if step == "as it was":
            host.start()


def test_no_such_job(host: Host) -> None:
    """A job of which nothing is known is none, whatever was noted of the host."""
    host.start()
    host.call("Hold")
    shown = run("--root", host.root, "why", "nobody", "--at", "2h")
    assert (1, True) == (shown.returncode, "no such job: nobody" in shown.stderr)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """3,000 runs of two jobs in turn, one of which lasted the whole time."""
    opened, found = Store(tmp_path), {}
    for number in range(1, 1501):
        for job in ("a", "b"):
            due = NOW + number * SECOND
            document = a_record(number, job=job)
            if (job, number) == ("a", 600):
                document = {**document, "ended": to_text(due + HOUR)}
            ended = Run(id=RunId(job, number), key=document["key"], due=due, queued=due, arrival=number, started=due,
                        state=RunState.SUCCEEDED, attempt=1)  # fmt: skip
            found[ended.id] = ended, document
    opened.commit(found, {})
    return opened


class TestLooks:
    def test_around(self, store: Store) -> None:
        """The records about an instant are found, and those before of runs that lasted until then."""
        found = past.around(store, "a", NOW + 1400 * SECOND)
        numbers = sorted(it["number"] for it in found.records)
        assert [600, *range(1351, 1451)] == numbers
        assert (True, to_text(NOW + 400 * SECOND)) == (found.is_whole, found.looked_back)

    def test_at_the_ends(self, store: Store) -> None:
        """Before all there is nothing before, and after all nothing after."""
        first, last = past.around(store, "a", NOW), past.around(store, "a", NOW + HOUR)
        assert list(range(1, 51)) == sorted(it["number"] for it in first.records)
        assert (True, "") == (first.is_whole, first.looked_back)
        assert [600, *range(1451, 1501)] == sorted(it["number"] for it in last.records)
        assert past.Around([], False, "") == past.around(store, "nobody", NOW)

    def test_expired(self, store: Store) -> None:
        """Where the first records have expired those that are left are not all."""
        store.forget(RunId("a", number) for number in range(1, 101))
        found = past.around(store, "a", NOW)
        assert ([*range(101, 151)], False) == (sorted(it["number"] for it in found.records), found.is_whole)

    def test_live(self, store: Store) -> None:
        """What was live then is found among the newest of all jobs."""
        found = past.live(store, NOW + 100 * SECOND)
        assert {"a@100", "b@100", "a@99", "b@99", "a@98", "b@98"} >= {it["run"] for it in found} >= {"a@100", "b@100"}
        assert (True, False) == (past.has_all(store, NOW + 100 * SECOND), past.has_all(store, NOW + 700 * SECOND))


def test_hostile_words(host: Host) -> None:
    """Nothing that a record says reaches the terminal as it is."""
    host.write("a.yaml", "jobs: {a: {command: 'exit 3'}}")
    host.start()
    name = host.wait(host.run("a"))["run"]
    host.stop()
    path = host.root / "logs" / "a" / "1.json"
    path.write_text(path.read_text().replace('"exit code 3"', '"\\u001b]0;owned\\u0007"'))
    shown = run("--root", host.root, "why", name, "--at", now(host))
    assert (0, set(), True) == (shown.returncode, harmful(shown.stdout), "owned" in shown.stdout)


def test_a_row_of_nonsense_is_told() -> None:
    """A past that makes no sense is an error of the state, and no answer."""
    change = rows.past_change(rows.past_in(rows.DueChange("past", "a", 1, 1, "", '{"at":1,"job":"a","what":"paused"}')))
    assert 1 == rows.past_in(change).at
    for told in ("{}", '{"at":"x","job":"a","what":"paused"}', "nonsense", '{"no":1}'):
        with pytest.raises(rows.NONSENSE):
            rows.past_in(change._replace(timezone=told))
