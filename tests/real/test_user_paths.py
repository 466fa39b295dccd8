"""Path triggers of users: a process of the user looks, and learns, costs and breaks no more than the user could."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT, USER

pytestmark = NEEDS_ROOT
UID = pwd.getpwnam(USER).pw_uid
NEIGHBOUR = "mail"
THEIRS = pwd.getpwnam(NEIGHBOUR).pw_uid
NAMES = {UID: USER, THEIRS: NEIGHBOUR}


@pytest.fixture(scope="module")
def site() -> Iterator[Host]:
    """A daemon whose place everybody may enter."""
    with public() as directory:
        host = Host(directory / "host", str(REPO / "tests/support/anybodys.py"))
        host.root.chmod(0o755)
        (host.root / "jobqueued.yaml").write_text("users: {interval: 1s, jobs: 5}\n")
        try:
            host.start()
            yield host
        finally:
            host.close()


@pytest.fixture(autouse=True)
def clean(site: Host) -> Iterator[None]:
    """No files are there after each test."""
    yield
    if site.daemon_ended():
        site.start()
    for file in site.call("UserFiles")["files"]:
        site.call("UserFileRemove", name=file["name"], user=f"{file['user']}:{file['uid']}")
    wait_for(lambda: not watchers(site), why="no watcher is left")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where everybody may write."""
    with public() as directory:
        directory.chmod(0o1777)
        yield directory


def put(site: Host, *paths: Path | str, uid: int = UID, name: str = "x", told: bool = True) -> dict[str, Any]:
    """Hand in a job that waits for these paths."""
    on = ", ".join(f"{{path: '{path}'}}" for path in paths)
    text = f"jobs: {{{name}: {{command: 'id -un; echo $JOBQUEUE_TRIGGER_PATH', on: [{on}], overlap: queue}}}}\n"
    encoded = base64.b64encode(text.encode()).decode()
    reply = as_user(uid, lambda: site.call("UserFileSet", name=name, text=encoded))
    assert reply.get("stored", False), reply
    if told:
        wait_for(lambda: watching(site, uid), why="the watcher is at work")
    return dict(reply)


def watchers(site: Host) -> dict[int, int]:
    """The watchers of this host by their users."""
    found = {}
    for pid in site.small_ones():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "jq-watcher\n":
                found[os.stat(f"/proc/{pid}").st_uid] = pid
    return found


def watching(site: Host, uid: int = UID) -> int:
    """The watcher of a user, once it has its watches; else 0."""
    pid = watchers(site).get(uid, 0)
    with contextlib.suppress(OSError):
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        if "anon_inode:inotify" in links:
            return pid
    return 0


def runs(site: Host, job: str = f"{USER}/x") -> list[dict[str, Any]]:
    """What has become of a job's runs, the newest first, once none is under way."""

    def over() -> list[dict[str, Any]] | None:
        found = site.call("History", job=job)["runs"]
        return found if all(run["state"] in ("succeeded", "failed", "skipped") for run in found) else None

    return wait_for(lambda: (found := over()) is not None and [found], why="all runs are over")[0]


def ran(site: Host, number: int, job: str = f"{USER}/x") -> list[str]:
    """What the latest run of a job has written, once it is this one."""
    wait_for(lambda: len(runs(site, job)) >= number, why=f"{number} runs")
    assert number == len(runs(site, job))
    return site.output(f"{job}@{runs(site, job)[0]['number']}").decode().splitlines()


def test_a_file_that_is_dropped(site: Host, place: Path) -> None:
    """The job runs as its user, and is told the file."""
    (place / "inbox").mkdir()
    put(site, place / "inbox" / "*.csv")
    (place / "inbox" / "a.csv").touch()
    assert [USER, f"{place}/inbox/a.csv"] == ran(site, 1)
