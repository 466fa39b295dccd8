"""A home on a file system that never answers: it holds up what its user has in it, and nothing and nobody else."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child.contract.trust import FileRefused
from jobqueued.child.start import as_user as as_user_files
from jobqueued.child.start.as_user import opened
from jobqueued.child.start.identity import User
from tests.support import hung
from tests.support.host import Host, wait_for
from tests.support.stranger import as_user, public

pytestmark = pytest.mark.skipif(not hung.is_possible(), reason="needs root and /dev/fuse")

ITS_USER, ANOTHER = 1, 2


@pytest.fixture
def place() -> Iterator[tuple[Host, Path]]:
    """A daemon, and the home."""
    with public() as root:
        home = root / "home"
        home.mkdir()
        host = Host(root / "host")
        host.start()
        (root / "host/run").chmod(0o755)
        with hung.hung(home):
            yield host, home
        if not host.daemon_ended():
            host.stop()
        host.kill_small_ones()


def submit(host: Host, uid: int = ITS_USER, **keys: Any) -> str:
    """Hand in a command that has three seconds."""
    document = {"keys": {"command": "true", "timeout": "3s", **keys}}
    return str(as_user(uid, lambda: host.call("Submit", submission=document))["job"])


def end(host: Host, job: str, uid: int = ITS_USER) -> dict[str, Any]:
    """The record of its run, at its end."""
    found: dict[str, Any] = as_user(uid, lambda: host.call("Await", job=job))["record"]
    return found


def test_it_holds_up_nobody_else(place: tuple[Host, Path]) -> None:
    """All of its runs end in their time, with a record that tells where they hung; meanwhile all others go on."""
    host, home = place
    held = {
        submit(host, working_directory=str(home / "work")): f"chdir: {home}/work",
        submit(host, environment_file=[str(home / "variables")]): f"environment_file: {home}/variables",
        submit(host, command=[str(home / "program")]): f"exec: {home}/program",
    }
    assert "succeeded" == end(host, submit(host, ANOTHER), ANOTHER)["state"]
    assert "succeeded" == end(host, submit(host))["state"], "of the same user, elsewhere"
    wait_for(lambda: host.call("Status")["waiting"] == 0)
    for job, where in held.items():
        record = end(host, job)
        assert ("failed", f"start_failed: {where}: no answer in 3 s") == (record["state"], record["reason"])
    assert ([], []) == (host.call("Status")["troubles"], host.call("Status")["left"])
    assert 0 == host.stop()


def test_a_lock_file(place: tuple[Host, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens it for its user can't be killed, and is not waited for."""
    _, home = place
    monkeypatch.setattr(as_user_files, "SECONDS", 0.3)
    user = User(pwd.getpwuid(ITS_USER))
    with pytest.raises(FileRefused, match=r"does not answer within 0\.3 s"):
        list(opened(user, (user.gid, [user.gid]), [str(home / "lock")], lambda path, _: os.open(path, os.O_RDONLY)))


def test_a_script_that_hangs(place: tuple[Host, Path]) -> None:
    """What looks into it once it runs has its timeout, and goes on to hold what it holds until it can be killed."""
    host, home = place
    job = submit(host, command=["/bin/ls", str(home)])
    wait_for(lambda: host.call("Show", run=f"{job}@1")["record"]["state"] == "stopping")
    assert "timeout after 3 s" in str(host.call("Show", run=f"{job}@1")["record"]["reason"])
    assert "succeeded" == end(host, submit(host, ANOTHER), ANOTHER)["state"]
    assert "succeeded" == end(host, submit(host))["state"]
