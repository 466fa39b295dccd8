"""Notices by a real daemon: nobody who dies costs one, nobody who hangs holds up a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO
from tests.support.client import run
from tests.support.host import Host, wait_for
from tests.support.receivers import WebServer, answer
from tests.support.users import ME

GOT = """#!/bin/sh
cat >>{root}/got
echo >>{root}/got
[ ! -e {root}/away ] || exit 75
[ ! -e {root}/hangs ] || exec sleep 1000
"""


class Told(Host):
    """A host whose notices go to a program that writes them down."""

    def begin(self, jobs: str, rule: str = "") -> None:
        program = self.root / "receive"
        program.write_text(GOT.format(root=self.root))
        program.chmod(0o755)
        (self.root / "jobqueued.yaml").write_text(f"notify: {{command: {program}, {rule}}}\nnotifier: {ME.pw_name}\n")
        self.write("jobs.yaml", jobs)
        self.begin_again()

    def begin_again(self) -> None:
        self.start("--config", str(self.root / "jobqueued.yaml"))

    def got(self) -> list[dict[str, Any]]:
        """The notices that have come."""
        path = self.root / "got"
        return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []

    def told(self) -> list[str]:
        """Each in a word and the run it is about, those of a digest too."""
        each = [one for event in self.got() for one in event["held_back"] or [event]]
        return [f"{event['event']} {event['run']}" for event in each]

    def ends(self, job: str) -> str:
        """Run a job to its end."""
        run: str = self.call("Run", job=job)["run"]
        self.call("Wait", run=run)
        return run


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    host = Told(tmp_path / "host")
    yield host
    host.close()


FLAKY = "jobs: {a: {command: 'test -e %s', retries: 0}, b: {command: 'exit 2'}}"


def test_an_incident(told: Told) -> None:
    """Told once, its end once, over a restart; the file that is refused is told by itself."""
    told.begin(FLAKY % (told.root / "ok"))
    assert "a@1" == told.ends("a")
    wait_for(lambda: told.told() == ["failure a@1"], why="the failure")
    (notice,) = told.got()
    assert (notice["record"]["exit_code"], notice["incident"]["count"], notice["version"]) == (1, 1, 1)
    told.ends("a")
    wait_for(lambda: not told.call("Notices")["notices"], why="the answer: what nobody knows to be sent goes again")
    told.kill()
    told.begin_again()
    told.ends("a")
    (told.root / "ok").touch()
    told.ends("a")
    wait_for(lambda: told.told() == ["failure a@1", "recovery a@4"], why="the recovery")
    told.write("bad.yaml", "jobs: 5")
    wait_for(lambda: told.told()[2:] == ["config_error None"], why="the refused file")
    told.write("bad.yaml", "jobs: {}")
    wait_for(lambda: told.told()[3:] == ["recovery None"], why="that it is accepted")
    assert [] == told.call("Notices")["incidents"]


def test_a_receiver_that_hangs_or_is_away(told: Told) -> None:
    """Runs go on; a daemon that is killed meanwhile sends it again, under the same id."""
    told.begin(FLAKY % "/", "on: [failure, success]")
    (told.root / "hangs").touch()
    told.ends("b")
    wait_for(told.got, why="the first try")
    assert "a@1" == told.ends("a")
    told.kill()
    (told.root / "hangs").unlink()
    (told.root / "away").touch()
    told.begin_again()
    wait_for(lambda: len(told.got()) > 1 and told.said("notice_failed"), why="another try")
    waiting = told.call("Notices")["notices"]
    assert ["failure", "success"] == [it["event"] for it in waiting]
    assert "away" not in waiting[0]["error"]
    assert any("can't be sent" in trouble for trouble in told.call("Status")["troubles"])
    (told.root / "away").unlink()
    told.kill()
    told.begin_again()
    wait_for(lambda: not told.call("Notices")["notices"], why="sent")
    assert {"failure b@1", "success a@1"} == set(told.told())
    assert [] == [trouble for trouble in told.call("Status")["troubles"] if "notices" in trouble]


LEAVES = """
import json, os, sys
from jobqueued.child import sending
from jobqueued.child.processes import tree
from jobqueued.child.start import spawn
sending.AFTERWARDS = float(sys.argv[1])
spawn.become_subreaper()
document = os.memfd_create("notice")
event = {"event": "test", "host": "db1", "at": "2026-11-26T12:00:00Z", "job": None, "run": None, "summary": "a test"}
notice = {"version": 1, "id": "x", "channel": "command", "target": sys.argv[2], "settings": {}, "event": event}
os.write(document, json.dumps({"user": None, "notice": notice}).encode())
print(sending.send(document)[0], tree.children())
"""


@pytest.mark.parametrize(
    ("seconds", "done", "left"),
    [
        ("20", True, "(sleep 1; touch DONE) >&- 2>&- &"),
        ("0.2", False, "(sleep 20; touch DONE) >&- 2>&- &"),
        ("0.2", False, "yes >&2 &"),
        ("0.2", False, "(trap '' TERM HUP INT; setsid sh -c 'sleep 20; touch DONE') &"),
        ("0.2", False, "exec python3 -c 'import os, time; end = time.monotonic() + 20\n"
         "while time.monotonic() < end:\n if os.fork(): os._exit(0)\n os.setsid()' &"),
        ("0.2", False, "(kill -STOP $$; sleep 20; touch DONE) &"),
    ],
    ids=["delivers", "stays", "floods", "ignores", "hops", "stops"],
)  # fmt: skip
def test_what_a_receiver_leaves(seconds: str, done: bool, left: str, tmp_path: Path) -> None:
    """A mail program may deliver for a while what it took; then nothing of it stays with the supervisor."""
    program = tmp_path / "receive"
    program.write_text(f"#!/bin/sh\n{left.replace('DONE', str(tmp_path / 'done'))}\n")
    program.chmod(0o755)
    command = [sys.executable, "-c", LEAVES, seconds, str(program)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd=REPO)
    assert ("sent []\n", done) == (told.stdout, (tmp_path / "done").exists())


def test_a_test(told: Told) -> None:
    """`Notify` puts a test for each target; nobody to tell is said."""
    told.begin(FLAKY % "/")
    (notice,) = told.call("Notify")["notices"]
    assert f"command {told.root}/receive" == notice["target"]
    wait_for(lambda: [it["event"] for it in told.got()] == ["test"], why="the test")
    (told.root / "jobqueued.yaml").write_text("{}")
    told.stop()
    told.begin_again()
    assert "no one is notified" in json.dumps(told.call("Notify"))


KEYED = """\
jobs:
  keyed: {command: 'exit 3', notify: {webhook: {url: '%s', headers: {X-Key: k}, template: '{"t": "$title"}'}}}
  other: {command: 'true'}
"""


def test_a_test_is_as_the_alarm(told: Told) -> None:
    """A test of a job goes as its notices would, with headers and template, and only to who would be told of it; what
    was refused goes with the next test, as soon as it is mended.
    """
    status = ["401 Unauthorized"]
    with WebServer(lambda _: answer(status[0])) as hook:
        told.begin(KEYED % hook.url, "jobs: [other]")
        assert ["webhook"] == [it["target"].split()[0] for it in told.call("Notify", job="keyed")["notices"]]
        wait_for(lambda: any(it["error"] for it in told.call("Notices")["notices"]), why="that the test is refused")
        told.ends("keyed")
        assert [[]] == [it["told"] for it in told.call("Notices")["incidents"]]
        status[0] = "200 OK"
        shown = run("--root", told.root, "notify", "--test", "--job", "keyed")
        assert (0, 1) == (shown.returncode, len(shown.stdout.splitlines())), shown.stdout + shown.stderr
        assert {("k", b'{"t":')} == {(it.headers["x-key"], it.body[:5]) for it in hook.requests}
        assert ([], [[f"webhook {hook.url}/…"]]) == (
            told.call("Notices")["notices"], [it["told"] for it in told.call("Notices")["incidents"]]
        )  # fmt: skip
    assert [] == told.got()
    assert {"webhook", "command"} == {it["target"].split()[0] for it in told.call("Notify")["notices"]}


def test_a_receiver_that_left(told: Told) -> None:
    """Who waited for something, and is in no file any more, was not told of it; that it is let go is said."""
    (told.root / "away").touch()
    told.begin(f"jobs: {{b: {{command: 'exit 2', notify: {{command: {told.root}/nobody}}}}}}", "jobs: [other]")
    told.ends("b")
    wait_for(lambda: any(it["error"] for it in told.call("Notices")["notices"]), why="that it can't be told")
    told.write("jobs.yaml", "jobs: {b: {command: 'exit 2'}}")
    wait_for(lambda: not told.call("Notices")["notices"], why="that it is let go")
    assert [[]] == [it["told"] for it in told.call("Notices")["incidents"]]
    (line,) = told.said("notice_given_up")
    assert "1 notice given up after no file names this receiver now: b@1 failed" in line["message"]


SLOW = "jobs: {slow: {command: 'until [ -e %s ]; do sleep 0.02; done', late: {after: 1s}}}"


def test_a_late_run(told: Told) -> None:
    """Told and then that it is over, whoever is killed when it is said; one that was on its way may come twice."""
    told.begin(SLOW % (told.root / "go"))
    run = told.run("slow")
    wait_for(lambda: told.said("run_late"), why="that it is late")
    told.kill()
    told.begin_again()
    wait_for(lambda: set(told.told()) == {"late slow@1"}, why="the notice")
    wait_for(lambda: not told.call("Notices")["notices"], why="the answer")
    told.kill()
    told.begin_again()
    (told.root / "go").touch()
    assert "succeeded" == told.wait(run)["state"]
    wait_for(lambda: told.told()[-1] == "recovery slow@1", why="that it is over")
    wait_for(lambda: not told.call("Notices")["notices"], why="the answers")
    assert ({"late slow@1"}, 1) == (set(told.told()[:-1]), len(told.said("run_late")))
    assert [] == told.call("Notices")["incidents"]


def test_an_overdue_job(told: Told) -> None:
    """It is told to whom the job named, though that is in no file any more, and was in none when the daemon started."""
    told.begin("jobs: {}")
    (told.root / "jobqueued.yaml").write_text(f"notifier: {ME.pw_name}\n")
    told.stop()
    told.write("jobs.yaml", f"jobs: {{a: {{command: 'true', expect: 2s, notify: {{command: {told.root}/receive}}}}}}")
    told.begin_again()
    told.write("jobs.yaml", "jobs: {}")
    wait_for(lambda: told.said("still_expected"), why="that it was removed")
    told.kill()
    told.begin_again()
    wait_for(lambda: set(told.told()) == {"overdue None"}, why="the notice")
    wait_for(lambda: not told.call("Notices")["notices"], why="the answer")
    assert "a has not succeeded for 2 s: " in told.got()[0]["summary"]
    told.kill()
    told.begin_again()
    assert ["overdue a"] == [it["subject"] for it in told.call("Notices")["incidents"]]
    (found,) = told.call("Status")["attention"]
    assert ("overdue", "it is in no job file; if it was removed on purpose: jobqueuectl forget a") == (
        found["kind"],
        found["reason"],
    )
    assert {"unsaved": None} == told.call("Forget", job="a")
    wait_for(lambda: not told.call("Notices")["incidents"], why="that it is over")
    assert (1, 0) == (len(told.said("overdue")), told.call("Status")["overdue"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_notifier_that_does_not_exist(told: Told) -> None:
    """It is said, and tried again."""
    told.begin("jobs: {b: {command: exit 2}}")
    config = told.root / "jobqueued.yaml"
    told.stop()
    config.write_text(config.read_text().replace(f"notifier: {ME.pw_name}", "notifier: no-such-user"))
    told.begin_again()
    told.ends("b")
    wait_for(lambda: told.said("notice_failed"), why="the failure to send")
    message = told.said("notice_failed")[0]["message"]
    assert (
        "no user 'no-such-user' on this host; create this user with systemd-sysusers, or set another `notifier`"
        in message
    )
