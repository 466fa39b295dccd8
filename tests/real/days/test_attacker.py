"""A local user's day against a real daemon of root's: files, links, locks and secrets, each way tried for real."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.host import DEADLINE, Host, wait_for
from tests.support.stranger import as_user, public
from tests.support.users import NEEDS_ROOT, OTHER

SECRET = "hunter2"
UID = pwd.getpwnam(OTHER).pw_uid

pytestmark = NEEDS_ROOT


class Field(NamedTuple):
    """The host, the directory of the attacker's own, and a sticky one that is everybody's."""

    host: Host
    home: Path
    shared: Path


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """A daemon whose directory everybody may enter, with a job of root's and one that runs as the attacker."""
    with public() as directory:
        host = Host(directory / "host")
        home, shared = directory / "home", directory / "shared"
        for path, mode in ((host.root, 0o755), (home, 0o755), (shared, 0o1777)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        os.chown(home, UID, UID)
        (host.root / "secret").write_text(f"TOKEN={SECRET}\n")
        (host.root / "secret").chmod(0o600)
        host.write("jobs.yaml", f"""
jobs:
  root: {{command: 'true', locks: [{{path: {shared}/root.lock}}], environment: {{TOKEN: {SECRET}}}}}
  linked: {{command: 'true', locks: [{{path: {home}/way/lock}}]}}
  user: {{command: 'echo got $TOKEN', user: {OTHER}, environment_file: {home}/env}}
""")  # fmt: skip
        (host.root / "jobqueue.d" / "jobs.yaml").chmod(0o600)
        try:
            host.start("--pid-file", str(host.root / "pid"))
            yield Field(host, home, shared)
        finally:
            host.close()


def locking(path: str | Path) -> subprocess.Popen[bytes]:
    """A process of the attacker's that waits for the lock of a file, says that it has it, and keeps it until told."""
    him = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
    command = [*him, "flock", str(path), "sh", "-c", "echo mine; read x"]
    return subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"\n", DEADLINE)


def test_a_link_leads_to_no_secret(field: Field) -> None:
    """What root's job reads for a user is what that user may read."""
    host = field.host
    as_user(UID, lambda: os.symlink(host.root / "secret", field.home / "env"))
    record = host.wait(host.run("user"))
    assert ("failed", True) == (record["state"], "Permission denied" in record["reason"])
    as_user(UID, (field.home / "env").unlink)
    as_user(UID, lambda: (field.home / "env").write_text("TOKEN=mine\n"))
    assert b"got mine\n" == host.output(wait_for(lambda: _ended(host, host.run("user"))))


def _ended(host: Host, run: str) -> str:
    return run if host.wait(run)["state"] == "succeeded" else ""


def test_no_job_of_roots_is_starved_unseen(field: Field) -> None:
    """Nobody can hold a lock file that jobqueued made; who has made one before is named; no link leads it elsewhere."""
    host = field.host
    early = locking(field.shared / "root.lock")
    assert early.stdout is not None
    assert b"mine\n" == early.stdout.readline()
    run = host.run("root")
    name = f"(pid {early.pid}) of user {OTHER})"
    wait_for(lambda: any(name in reason for reason in host.call("Why", run=run)["why"]["reasons"]))
    _end(early)
    record = host.wait(run)
    (warning,) = record["warnings"]
    assert "succeeded" == record["state"]
    subprocess.run(["sh", "-c", warning.rpartition(": ")[2]], check=True)  # what is said mends it
    assert b"" == locking(field.shared / "root.lock").communicate(b"\n", DEADLINE)[0]
    record = host.wait(host.run("root"))
    assert ("succeeded", []) == (record["state"], record["warnings"])
    assert 0o600 == stat.S_IMODE((field.shared / "root.lock").stat().st_mode)
    as_user(UID, lambda: os.symlink(host.root, field.home / "way"))
    assert "found a symbolic link that user nobody owns" in host.wait(host.run("linked"))["reason"]
    assert not (host.root / "lock").exists()


def test_no_command_of_his_runs_as_root(field: Field) -> None:
    """Through no file or directory that is open to him: what root left open is a problem, and gives no job."""
    host = field.host
    directory = host.root / "jobqueue.d"
    ours = {job["id"] for job in host.call("List")["jobs"]}
    evil = f"jobs: {{evil: {{command: 'touch {field.home}/root-was-here', on: boot}}}}"
    (directory / "group.yaml").write_text("jobs: {}")
    (directory / "group.yaml").chmod(0o664)
    as_user(UID, lambda: (directory / "group.yaml").write_text(evil), 0)  # his group is root's
    wait_for(lambda: any("group root may write" in problem["message"] for problem in host.call("Status")["problems"]))
    directory.chmod(0o777)
    as_user(UID, lambda: (directory / "evil.yaml").write_text(evil))
    as_user(UID, lambda: os.rename(directory / "group.yaml", directory / "other.yaml"))
    wait_for(lambda: any(problem["file"] == str(directory) for problem in host.call("Status")["problems"]))
    assert ours == {job["id"] for job in host.call("List")["jobs"]}
    directory.chmod(0o755)
    wait_for(
        lambda: any(problem["file"] == str(directory / "evil.yaml") for problem in host.call("Status")["problems"])
    )
    assert ours == {job["id"] for job in host.call("List")["jobs"]}
    assert not (field.home / "root-was-here").exists()


def test_nothing_of_it_is_his_to_read_or_lock(field: Field) -> None:
    """He finds no secret in what he may read, and what he may lock keeps no daemon from starting anew."""
    host = field.host
    pid_file = host.root / "pid"
    host.wait(host.run("root"))

    def readable() -> list[str]:
        found = []
        for directory, _, names in os.walk(host.root):
            for path in (os.path.join(directory, name) for name in names):
                with suppress(OSError):
                    if stat.S_ISREG(os.stat(path).st_mode) and (data := Path(path).read_bytes()) is not None:
                        assert SECRET.encode() not in data, path
                        found.append(path)
        return found

    open_to_him = as_user(UID, readable)
    assert str(pid_file) in open_to_him
    waiting = [locking(path) for path in open_to_him]
    wait_for(lambda: all(f" {process.pid} " in Path("/proc/locks").read_text() for process in waiting))
    host.kill()
    host.start("--pid-file", str(pid_file))
    for process in waiting:
        _end(process)
