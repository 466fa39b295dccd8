"""A rate over SIGKILL: what has started counts for the next daemon, and what waits starts when the rate allows it."""

from __future__ import annotations

import json
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
    least = [timedelta(seconds=2.8), timedelta(seconds=5.8)]  # a run counts when it is admitted, just before its start
    assert [True, True] == [time - times[0] >= span for time, span in zip(times[2:], least, strict=True)]


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


def test_simulate_knows_what_is_used_up(host: Host) -> None:
    """`simulate` begins with the budget as it is, not with a full one."""
    host.write("a.yaml", "jobs: {often: {command: 'true', schedule: '* * * * *', rate: 2/1d}}\n")
    host.start()
    for _ in range(2):
        host.wait(host.run("often"))
    (row,) = host.call("List")["jobs"]
    assert datetime.fromisoformat(row["rate_full"]) > datetime.fromisoformat(row["next"]) + timedelta(hours=23)
    done = run("--root", host.root, "simulate", "--for", "1h", "--json", "--draws", "1")
    assert 0 == done.returncode, done.stderr
    assert "rate" in done.stdout
    assert [0, 0] == json.loads(done.stdout)["jobs"][0]["runs"]
