"""The crontab of an ordinary user, run by a daemon of root's: the rules of `users` reach it."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.crontabs import crontab
from tests.support.host import Host, wait_for
from tests.support.stranger import public
from tests.support.users import NEEDS_ROOT, USER

pytestmark = NEEDS_ROOT
UID = pwd.getpwnam(USER).pw_uid
LIVE = 3
SETTINGS = f"cron: {{live: true}}\ntimezone: UTC\nusers: {{live: {LIVE}, deny: [news]}}\n"
LINES = 12


DENIED = "news"
DENIAL = f"user '{DENIED}' can't have jobs here, because of `users: {{deny: …}}` in jobqueued.yaml"


@pytest.fixture
def site() -> Iterator[Host]:
    """A daemon that runs crontabs, and whose place everybody may enter."""
    with public() as directory:
        host = Host(directory / "host")
        host.root.chmod(0o755)
        (host.root / "jobqueued.yaml").write_text(SETTINGS)
        try:
            host.start()
            yield host
        finally:
            host.close()


def rows(site: Host) -> list[dict[str, Any]]:
    """The jobs of the lines."""
    return list(site.call("List")["jobs"])


def install(site: Host, table: str, count: int) -> list[str]:
    """Give the user this table, and wait until its lines are jobs."""
    assert 0 == crontab(site.root, "-", uid=UID, text=table).status
    wait_for(lambda: len(rows(site)) == count, why="the jobs of the crontab")
    return [row["id"] for row in rows(site)]


def test_many_lines_have_few_live_runs(site: Host) -> None:
    """However many lines are due at once, `live` of them have a supervisor; the others start as those end."""
    gate = site.root / "gate"
    line = f"@daily until [ -e {gate} ]; do sleep 0.1; done; :"
    lines = install(site, "".join(f"{line} {number}\n" for number in range(LINES)), LINES)
    runs = [site.run(name) for name in lines]
    wait_for(lambda: sum(row["waiting"] for row in rows(site)) == LINES - LIVE, why="all that wait")
    assert LIVE == len(site.marks()) == sum(row["running"] for row in rows(site))
    waits = next(row["id"] for row in rows(site) if row["waiting"])
    assert f"{LIVE} runs of {USER} are live, which is the limit for each user" in str(site.call("Why", job=waits))
    gate.touch()
    assert {"succeeded"} == {site.wait(run)["state"] for run in runs}


def test_processes_left_by_ended_runs_count_as_live(site: Host) -> None:
    """Until they end, also after a restart of the daemon; `why` names the ended runs."""
    gate, end = site.root / "gate", site.root / "end"
    line = f"@daily (until [ -e {end} ]; do sleep 0.1; done; echo late) & until [ -e {gate} ]; do sleep 0.1; done; :"
    lines = install(site, "".join(f"{line} {number}\n" for number in range(LINES)), LINES)
    runs = [site.run(name) for name in lines]
    gate.touch()
    first = runs[:LIVE]
    assert {"succeeded"} == {site.wait(run)["state"] for run in first}
    for _ in range(2):
        wait_for(lambda: sorted(first) == site.call("Status")["left"], why="the left processes")
        assert LINES - LIVE == sum(row["waiting"] for row in rows(site))
        reason = "ended runs count until the processes that they left end: " + ", ".join(sorted(first))
        assert reason in str(site.call("Why", job=runs[-1].rpartition("@")[0]))
        site.stop()
        site.start()
        wait_for(lambda: len(rows(site)) == LINES, why="the jobs of the crontab")
    end.touch()
    assert {"succeeded"} == {site.wait(run)["state"] for run in runs}
    wait_for(lambda: not site.call("Status")["left"], why="no left processes")
    assert {b"late\n"} == {site.output(run) for run in runs}


def test_a_user_who_may_have_no_jobs(site: Host) -> None:
    """A table that root has put there does not run, and the job says why; the user can't install one, but remove it."""
    table, theirs = "@daily true\n", pwd.getpwnam(DENIED).pw_uid
    assert 0 == crontab(site.root, "-u", DENIED, "-", text=table).status
    wait_for(lambda: [row["invalid"] for row in rows(site)] == [DENIAL], why="the verdict")
    told = crontab(site.root, "-", uid=theirs, text=f"# new\n{table}")
    assert 1 == told.status
    assert DENIAL in told.err
    assert table == crontab(site.root, "-l", uid=theirs).out
    assert 0 == crontab(site.root, "-r", uid=theirs).status
    wait_for(lambda: not rows(site), why="no job")
