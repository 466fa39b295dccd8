"""Users who come, go, and are others by now: on a host whose users the test makes, under a daemon that lives on."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO
from tests.support.host import Host, wait_for
from tests.support.other_etc import change_users, copied
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT

pytestmark = NEEDS_ROOT
FIRST, SECOND = 70001, 70002
TEXT = "jobs: {who: {command: id -u, every: 1m}}"


def _can_have_mounts() -> bool:
    pid = os.fork()
    if not pid:
        import ctypes  # noqa: PLC0415

        os._exit(0 if ctypes.CDLL(None).unshare(0x20000) == 0 else errno.EPERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def etc() -> Iterator[Path]:
    if not _can_have_mounts():
        pytest.skip("needs a mount namespace")
    with public() as directory:
        yield copied(directory / "etc")


@pytest.fixture
def site(etc: Path) -> Iterator[Host]:
    host = Host(etc.parent / "host", str(REPO / "tests/support/other_etc.py"), str(etc))
    host.root.chmod(0o755)
    change_users(etc, alice=FIRST)
    try:
        host.start()
        yield host
    finally:
        host.close()


def put(site: Host, uid: int) -> Any:
    text = base64.b64encode(TEXT.encode()).decode()
    return as_user(uid, lambda: site.call("UserFileSet", name="x", text=text))


def names(site: Host, uid: int) -> list[str]:
    return [file["name"] for file in as_user(uid, lambda: site.call("UserFiles"))["files"]]


def invalid(site: Host) -> str:
    return str(site.call("List")["jobs"][0]["invalid"])


def ran(site: Host) -> dict[str, Any]:
    """The record of a run that somebody asks for."""
    return site.wait(site.run("alice/who"))


def is_refused(site: Host) -> bool:
    """Whether nothing starts, as the job is invalid."""
    return "was skipped: invalid: " in site.call("Run", job="alice/who").get("reason", "")


def test_a_name_and_a_number_are_one_user(site: Host, etc: Path) -> None:
    """Whoever has only one of both neither runs the other's jobs, nor sees or replaces them, nor inherits anything."""
    assert put(site, FIRST)["stored"]
    record = ran(site)
    assert ("succeeded", f"{FIRST}\n".encode()) == (record["state"], site.output(record["run"]))

    change_users(etc)  # userdel alice
    wait_for(lambda: invalid(site) == "no user 'alice' on this host", why="its user is gone")
    assert is_refused(site)
    assert f"this host has no user with the uid {FIRST}" == put(site, FIRST)["reason"]

    change_users(etc, alice=SECOND)  # somebody else of that name
    wait_for(lambda: f"has uid {SECOND} on this host" in invalid(site), why="another number")
    assert is_refused(site)
    assert ([], True) == (names(site, SECOND), "root can remove it" in put(site, SECOND)["reason"])

    change_users(etc, alicia=FIRST)  # the same number by another name
    wait_for(lambda: invalid(site) == "no user 'alice' on this host", why="another name")
    assert (True, []) == (is_refused(site), names(site, FIRST))

    change_users(etc, alice=FIRST)  # as it was
    wait_for(lambda: invalid(site) == "None", why="valid again")
    assert ("succeeded", ["x"]) == (ran(site)["state"], names(site, FIRST))

    change_users(etc, alice=SECOND)
    wait_for(lambda: f"has uid {SECOND} on this host" in invalid(site), why="another number")
    assert {"jobs": ["alice/who"]} == site.call("UserFileRemove", name="x", user="alice")
    assert put(site, SECOND)["stored"]
    record = ran(site)
    assert ("succeeded", f"{SECOND}\n".encode()) == (record["state"], site.output(record["run"]))


def test_a_start_before_anybody_knows(site: Host, etc: Path) -> None:
    """A daemon that has not heard of it starts nothing either: who starts the job looks both up."""
    assert put(site, FIRST)["stored"]
    (etc / "passwd").write_text((etc / "passwd").read_text().replace(f"alice:x:{FIRST}", f"alice:x:{SECOND}"))
    record = ran(site)
    why = f"user: user 'alice' has uid {SECOND} on this host, but the job belongs to uid {FIRST}"
    assert record["state"] in ("failed", "skipped")
    assert record["state"] == "skipped" or why in record["reason"]
