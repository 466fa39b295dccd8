"""trust: whom a daemon believes, with real files, owners, links and access control lists, and what mends each."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jobqueued.child.contract.trust import FileRefused, check_path, check_status, is_roots_alone, name_of, quoted
from jobqueued.jobdir import trust
from jobqueued.jobdir.inbox import AGAIN
from jobqueued.settings.settings import Settings, read_settings
from tests.support.directory import Directory
from tests.support.host import Host, wait_for
from tests.support.users import GROUP, NEEDS_ROOT, ROOT, believing

ALICE, NOBODY = 1000, 65534
US = os.geteuid()


def status(mode: int, owner: int = 0, group: int = 0) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, owner, group, 10, 0, 0, 0))


@pytest.mark.parametrize(
    "found", [status(0o644), status(0o600, ALICE), status(0o444, ALICE, NOBODY), status(0o640, 0, NOBODY)]
)
def test_files_of_root_and_of_the_daemons_user_are_believed(found: os.stat_result) -> None:
    """The owner is root or the daemon's user, and nobody else may write."""
    check_status(found, "/none", ALICE)


UNTRUSTED = {
    "a file that user nobody owns": (status(0o644, NOBODY), "chown root '/no ne'"),
    "a file that all users may write": (status(0o646), "chmod go-w '/no ne'"),
    "a file that group nogroup may write": (status(0o664, 0, NOBODY), "chmod go-w '/no ne'"),
    "a file that group root may write": (status(0o664), "chmod go-w '/no ne'"),
    "a file that user nobody owns and all users may write": (
        status(0o666, NOBODY), "chown root '/no ne' && chmod go-w '/no ne'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("found", UNTRUSTED)
def test_files_that_others_could_have_written_are_refused(found: str) -> None:
    """A file of another user, or one that a group of root's may write too, is refused with what mends it."""
    seen, remedy = UNTRUSTED[found]
    with pytest.raises(FileRefused) as refused:
        check_status(seen, "/no ne", 0)
    assert f"found {found}; expected one that only root can write: {remedy}" == str(refused.value)


def test_a_name_is_the_hosts_own() -> None:
    """Users of whom only a network could know have a number: nobody waits for one."""
    assert ("root", "1234567") == (name_of(0), name_of(1234567))


@pytest.mark.parametrize("path", ["/a/b.yaml", "/a b", "/it's", "/$(x)", "/a;b"])
def test_a_path_is_quoted_as_a_shell_takes_it(path: str) -> None:
    """What is said can be pasted."""
    shown = subprocess.run(["sh", "-c", f"printf %s {quoted(path)}"], capture_output=True, text=True, check=True)
    assert path == shown.stdout


def let_write(path: Path, user: int = ALICE) -> None:
    """As setfacl(1) does with -m u:USER:rwx."""
    entries = ((0x01, 6, -1), (0x02, 7, user), (0x04, 5, -1), (0x10, 7, -1), (0x20, 5, -1))
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", packed)


def link_of_alice(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))
    os.chown(path, ALICE, -1, follow_symlinks=False)


OPENED: dict[str, Callable[[Path], None]] = {
    "owner": lambda path: os.chown(path, ALICE, -1),
    "everybody": lambda path: path.chmod(0o777),
    "sticky": lambda path: path.chmod(0o1777),
    "group of root": lambda path: path.chmod(0o775),
    "group": lambda path: (os.chown(path, -1, GROUP), path.chmod(0o775))[0],  # type: ignore[func-returns-value]
    "access control list": let_write,
    "link": link_of_alice,
    "all": lambda path: (os.chown(path, ALICE, GROUP), path.chmod(0o777))[0],  # type: ignore[func-returns-value]
}


@NEEDS_ROOT
@pytest.mark.parametrize("way", OPENED)
@pytest.mark.parametrize("place", ["etc/jobqueue.d", "etc", "etc/jobqueue.d/it's a.yaml"])
def test_what_is_said_mends_it(tmp_path: Path, place: str, way: str) -> None:
    """Each way in which others may change a file, its directory, or what that is in, is refused; once the command that
    is named was run, it is accepted.
    """
    file = tmp_path / "etc" / "jobqueue.d" / "it's a.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("jobs: {a: {command: x}}")
    check_path(str(file), 0)
    OPENED[way](tmp_path / place)
    if (way, place) == ("sticky", "etc"):
        check_path(str(file), 0)  # it leads to a directory of root's
        return
    assert not is_roots_alone(str(file))
    with pytest.raises(FileRefused) as refused:
        check_path(str(file), 0)
    subprocess.run(["sh", "-c", str(refused.value).partition("can write: ")[2]], check=True)
    check_path(str(file), 0)


def test_a_file_that_is_opened_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written after the first look at its mode is not believed either."""
    file = tmp_path / "a.yaml"
    file.write_text("jobs: {}")

    def open_and_write(_descriptor: int) -> bool:
        file.chmod(0o666)
        file.write_text("jobs: {evil: {command: x}}")
        return False

    monkeypatch.setattr(trust, "has_writer", open_and_write)
    with pytest.raises(FileRefused, match="all users may write"):
        trust.read_trusted(str(file), US)


@NEEDS_ROOT
@pytest.mark.parametrize("place", ["etc", "etc/jobqueue.d"])
def test_a_directory_that_others_may_write_is_not_read(tmp_path: Path, place: str) -> None:
    """Nothing new in it is believed, the last good jobs stay, and chmod alone mends it."""
    directory = Directory(tmp_path / "etc" / "jobqueue.d")
    directory.path.mkdir(parents=True)
    directory.write("a.yaml", "a")
    assert ["a.yaml: a"] == directory.scan()
    (tmp_path / place).chmod(0o1777 if place.endswith(".d") else 0o777)
    directory.write("a.yaml", "evil")
    directory.write("b.yaml", "b")
    reason = "found a directory that all users may write; expected one that only root can write: chmod go-w"
    refused = f"{reason} {tmp_path / place}; its last good jobs remain in force"
    assert ([], {"jobqueue.d": [refused]}) == (directory.scan(), directory.problems())
    later = Directory(directory.path, {name: text for name, text in directory.kept.items() if text is not None})
    assert (["a.yaml: a"], AGAIN) == (later.scan(), later.watch.deadline)
    (tmp_path / place).chmod(0o755)
    for each in (directory, later):
        assert (["a.yaml: evil", "b.yaml: b"], {}) == (each.scan(), each.problems())
        each.watch.inbox.close()


@NEEDS_ROOT
def test_a_start_believes_no_directory_of_others(tmp_path: Path) -> None:
    """Settings, state, live runs: each place from which commands could come is refused at the start with the remedy."""
    host = Host(tmp_path / "host")
    settings = host.root / "jobqueued.yaml"
    settings.write_text("max_running: 3")
    for name in ("state", "run", "logs"):
        (host.root / name).mkdir(mode=0o755)
    for path in (settings, host.root / "state", host.root / "run", host.root / "logs"):
        before = stat.S_IMODE(path.stat().st_mode)
        for way in ("owner", "group of root", "access control list"):
            OPENED[way](path)
            (host.root / "daemon.log").write_text("")
            assert 1 == host.start(ready=False).wait(20)
            assert "expected one that only root can write: " in host.log()
            os.chown(path, 0, 0)
            path.chmod(before)
    host.start()
    host.close()


def test_settings_are_believed_as_job_files_are(tmp_path: Path) -> None:
    """Whoever may write jobqueued.yaml decides what root runs; who only looks into it believes it."""
    file = tmp_path / "jobqueued.yaml"
    file.write_text("max_running: 3")
    file.chmod(0o666)
    reason = f"found a file that all users may write; expected one that only root can write: chmod go-w {file}"
    config, problems = read_settings(file, US)
    assert (Settings(), [believing(reason)]) == (config, [problem.message for problem in problems])
    assert 3 == read_settings(file)[0].max_running
    file.chmod(0o644)
    assert 3 == read_settings(file, US)[0].max_running


def test_a_daemon_of_an_ordinary_user_believes_that_user(tmp_path: Path) -> None:
    """Its directories are that user's and root's."""
    check_path(str(tmp_path), US)
    assert ROOT == is_roots_alone(str(tmp_path))


@NEEDS_ROOT
def test_a_live_daemon_says_whom_it_does_not_believe(tmp_path: Path) -> None:
    """A directory that is opened under a live daemon is a problem in its status, until it is closed again."""
    host = Host(tmp_path / "host")
    try:
        host.write("a.yaml", "jobs: {a: {command: 'true'}}")
        host.start()
        (host.root / "jobqueue.d").chmod(0o777)
        found = wait_for(lambda: host.call("Status")["problems"])
        assert ["found a directory that all users may write"] == [p["message"].partition(";")[0] for p in found]
        (host.root / "jobqueue.d").chmod(0o755)
        wait_for(lambda: not host.call("Status")["problems"])
    finally:
        host.close()


@NEEDS_ROOT
def test_a_shared_directory_stays_as_it_is() -> None:
    """Nobody is told to take /tmp from everybody: what is there has to go elsewhere."""
    with (
        tempfile.NamedTemporaryFile(dir="/tmp") as file,
        pytest.raises(FileRefused, match="found it in /tmp, where all users may write; expected a place"),
    ):
        check_path(file.name, 0)
