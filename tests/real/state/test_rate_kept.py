"""A rate over SIGKILL: what has started counts for the next daemon, and what waits starts when the rate allows it."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.support.client import run
from tests.support.host import Host

JOBS = """\
jobs:
  often: {command: 'true', rate: 2/6s, concurrency: 9}
  fails: {command: 'exit 1', rate: 1/1h, retries: 2, retry_delay: 1s}
"""


def test_the_daemon_is_killed(host: Host) -> None:
    """Two start at once, the others every three seconds, although the daemon is killed in between."""
    host.write("a.yaml", JOBS)
    host.start()
    names = [host.run("often") for _ in range(4)]
    host.wait(names[1])
    host.kill()
    host.start()
    told = run("--root", host.root, "why", names[2]).stdout
    assert "its rate of 2/6s is used up; the next run can start in" in told
    times = [datetime.fromisoformat(host.wait(name)["started"]) for name in names]
    assert [times[0] + timedelta(seconds=3), times[0] + timedelta(seconds=6)] <= times[2:]


def test_further_attempts(host: Host) -> None:
    """All attempts of a run use up one start; the run after it waits."""
    host.write("a.yaml", JOBS)
    host.start()
    first, second = host.run("fails"), host.run("fails")
    assert 3 == len(host.wait(first)["attempts"])
    assert "its rate of 1/1h is used up" in run("--root", host.root, "why", second).stdout


def test_an_array(host: Host) -> None:
    """`submit --rate` limits the runs of an array."""
    host.start()
    done = run("--root", host.root, "submit", "--array", "1-3", "--rate", "2/1h", "--json", "--", "true")
    assert 0 == done.returncode, done.stderr
    host.wait("host/1@2")
    assert "its rate of 2/1h is used up" in run("--root", host.root, "why", "host/1@3").stdout
    wrong = run("--root", host.root, "submit", "--array", "1-3", "--rate", "0/1h", "--", "true")
    assert 1 == wrong.returncode
    assert "rate: found '0/1h'; expected a number of runs from 1 to 999999" in wrong.stderr
