"""--tag of pause, resume, run and stop: all jobs with a tag at once; simulate lists only these."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.support.client import run
from tests.support.host import Host, wait_for

FILE = """\
jobs:
  a: {command: 'true', tags: [nightly, db]}
  b: {command: 'true', tags: [nightly]}
  off: {command: 'true', tags: [nightly, off], enabled: false}
  waits: {command: 'sleep 1000', tags: [long], schedule: '*/10 * * * *'}
  other: {command: 'exec sleep 1000', schedule: '*/10 * * * *'}
"""


@pytest.fixture
def up(host: Host) -> Host:
    """A host with these jobs, whose daemon is up."""
    host.write("a.yaml", FILE)
    host.start()
    return host


def paused(host: Host) -> set[str]:
    return {row["id"] for row in host.call("List")["jobs"] if row["paused"]}


def test_pause_and_resume(up: Host) -> None:
    """All jobs with the tags are paused and resumed, and no other."""
    done = run("--root", up.root, "pause", "--tag", "nightly", "--until", "2h")
    assert (0, "") == (done.returncode, done.stderr)
    assert ["a is paused", "b is paused", "off is paused"] == [it.split(" until")[0] for it in done.stdout.splitlines()]
    assert {"a", "b", "off"} == paused(up)
    done = run("--root", up.root, "resume", "--tag", "nightly", "--tag", "db")
    assert (0, {"b", "off"}) == (done.returncode, paused(up))
    done = run("--root", up.root, "resume", "-t", "nightly")
    assert (0, "a was not paused", set()) == (done.returncode, done.stdout.splitlines()[0], paused(up))


def test_run(up: Host) -> None:
    """Each enabled job gets a run; a disabled one is named; --wait is answered by all ends together."""
    done = run("--root", up.root, "run", "--wait", "--tag", "nightly")
    assert (0, "a@1\nb@1\n") == (done.returncode, done.stdout)
    assert "left out, because they are disabled: off" == done.stderr.splitlines()[0]
    assert ["succeeded"] * 2 == [up.wait(name)["state"] for name in ("a@1", "b@1")]
    done = run("--root", up.root, "run", "--tag", "off")
    refusal = "Error: all jobs with the tag off are disabled; to run one of them, name it\n"
    assert (1, "", refusal) == (done.returncode, done.stdout, done.stderr)
    assert (0, "off@1\n") == ((done := run("--root", up.root, "run", "off")).returncode, done.stdout)


def test_one_fails_or_is_refused(up: Host) -> None:
    """The others are done as well, and the exit status is 1."""
    up.write("a.yaml", FILE.replace("a: {command: 'true'", "a: {command: exit 3"))
    wait_for(lambda: run("--root", up.root, "show", "a").stdout.count("exit 3"))
    done = run("--root", up.root, "run", "--wait", "--tag", "nightly")
    assert (1, "a@1\nb@1\n", "succeeded") == (done.returncode, done.stdout, up.wait("b@1")["state"])
    up.write("a.yaml", FILE.replace("a: {command: 'true'", "a: {command: 'true', user: no-such"))
    wait_for(lambda: any(row["invalid"] for row in up.call("List")["jobs"]))
    done = run("--root", up.root, "run", "--wait", "--tag", "nightly")
    assert (1, "b@2\n") == (done.returncode, done.stdout), done.stderr
    assert "no user 'no-such' on this host" in done.stderr


def test_stop(up: Host) -> None:
    """The live runs of the jobs are stopped, and those of other jobs are not."""
    live, kept = up.run("waits"), up.run("other")
    wait_for(lambda: up.call("Status")["running"] == 2)
    done = run("--root", up.root, "stop", "--wait", "--tag", "long")
    assert (0, f"{live} stopping\n") == (done.returncode, done.stdout), done.stderr
    assert ("killed", "running") == (up.wait(live)["state"], up.call("Show", run=kept)["record"]["state"])
    done = run("--root", up.root, "stop", "--tag", "long")
    assert (1, "Error: no job with the tag long has a live run\n") == (done.returncode, done.stderr)


def test_simulate(up: Host) -> None:
    """Only the jobs with the tag are listed, on paper as in JSON; the totals are of all."""
    every = ["--root", up.root, "simulate", "--for", "1h", "--draws", "1", "--default-duration", "1m"]
    whole, listed = (json.loads(run(*every, "--json", *more).stdout) for more in ((), ("--tag", "long")))
    assert [{"waits", "other"}, {"waits"}] == [{row["job"] for row in found["jobs"]} for found in (whole, listed)]
    assert whole["runs"] == listed["runs"] == [12, 12]
    shown = run(*every, "--tag", "long").stdout
    assert ("waits" in shown, "other " in shown) == (True, False), shown
    done = run(*every, "--tag", "none")
    assert (2, True) == (done.returncode, "--tag: no job has the tag none" in done.stderr)


@pytest.mark.parametrize("command", ["pause", "resume", "run", "stop"])
def test_wrong_words(up: Host, command: str) -> None:
    """A job and a tag, neither of them, and a tag that no job has: nothing is done."""
    both = run("--root", up.root, command, "a", "--tag", "nightly")
    assert (2, True) == (both.returncode, "or --tag, but not both" in both.stderr)
    neither = run("--root", up.root, command)
    assert (2, True) == (neither.returncode, "or --tag\n" in neither.stderr)
    nobody = run("--root", up.root, command, "--tag", "nightly", "--tag", "none")
    assert (1, "Error: no job has the tags nightly and none\n") == (nobody.returncode, nobody.stderr)
    assert ([], set()) == (up.call("History")["runs"], paused(up))


def test_a_limit_of_live_runs(host: Host) -> None:
    """`tags: {T: {live: 1}}`: one at a time, also after SIGKILL of the daemon; why, locks and record name the tag."""
    host.write("a.yaml", FILE.replace("'true'", f"'until test -e {host.root}/GO; do sleep 0.05; done'"))
    (host.root / "jobqueued.yaml").write_text("tags: {nightly: {live: 1}}\n")
    host.start()
    assert 0 == run("--root", host.root, "run", "--tag", "nightly").returncode
    wait_for(lambda: host.call("Show", run="a@1")["record"]["state"] == "running")
    host.kill()
    host.start()
    why = run("--root", host.root, "why", "b@1").stdout
    assert "the limit of 1 live for the tag nightly is used up by a@1" in why
    rows = json.loads(run("--root", host.root, "locks", "--json", "tag:nightly").stdout)["claims"]
    assert [("a@1", True), ("b@1", False)] == [(row["holder"], row["held"]) for row in rows]
    waited = datetime.now(UTC).isoformat()
    (host.root / "GO").touch()
    records = [host.wait(name) for name in ("a@1", "b@1")]
    assert ["succeeded"] * 2 == [record["state"] for record in records]
    assert records[0]["ended"] <= records[1]["started"]
    assert ["tag:nightly"] == records[1]["waited_for"]
    told = run("--root", host.root, "why", "b", "--at", waited).stdout
    assert "the limit of 1 live for the tag nightly was used up by a@1" in told
