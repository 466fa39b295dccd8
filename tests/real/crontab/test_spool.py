"""The spool of crontabs: whatever fails or dies at which step, the table is the old one or the new one."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jobqueued.child.spool import spool
from jobqueued.child.spool.spool import NONE, PLACE, Changed, Spool, SpoolRefused, fits
from tests.support.users import ME, NEEDS_ROOT, STRANGER

OLD, NEW = b"# old\n", b"# new, and longer\n"
US = ME.pw_name, ME.pw_uid
STEPS = (
    "mkdir", "chmod", "chown", "rename", "unlink", "open", "write", "fchmod", "fchown", "fsync", "close", "stat",
    "fstat",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / PLACE


def spool_of(place: Path) -> Spool:
    return Spool(str(place.parents[3]))


class Steps:
    """The system calls that `spool` makes, as `os` of it: the nth fails, or is the last thing before its death."""

    def __init__(self, nth: int, fault: Callable[[], None]) -> None:
        self.nth, self.fault, self.made = nth, fault, list[str]()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in STEPS:
            return real

        def step(*args: Any, **kwargs: Any) -> Any:
            self.made.append(name)
            if len(self.made) == self.nth:
                self.fault()
            return real(*args, **kwargs)

        return step


def host_of(host: Path, there: bool = True) -> Path:
    """A host with the old table, or with nothing."""
    host.mkdir()
    if there:
        Spool(str(host)).install(*US, OLD)
    return host


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def made(host: Path, act: Callable[[Spool], Any]) -> list[str]:
    """The steps of an act."""
    steps = Steps(0, die)
    before, spool.os = spool.os, steps  # type: ignore[attr-defined,assignment]
    try:
        act(Spool(str(host)))
    finally:
        spool.os = before  # type: ignore[attr-defined]
    return steps.made


def install(found: Spool) -> None:
    found.install(*US, NEW)


@pytest.mark.parametrize("there", [True, False])
def test_sigkill_between_any_two_steps(tmp_path: Path, there: bool) -> None:
    """Before each step of an installation, the first of all too: a whole table, or none as before; the next one goes
    through, and nothing is left."""
    number, seen = len(made(host_of(tmp_path / "0", there), install)), set[bytes | None]()
    assert number > 10
    for nth in range(1, number + 1):
        host = host_of(tmp_path / f"{nth}", there)
        if not (pid := os.fork()):
            spool.os = Steps(nth, die)  # type: ignore[attr-defined,assignment]
            install(Spool(str(host)))
            os._exit(0)
        assert -signal.SIGKILL == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), nth
        table, stamp = Spool(str(host)).read(*US)
        seen.add(None if stamp == NONE else table)
        install(Spool(str(host)))
        assert [ME.pw_name] == os.listdir(host / PLACE)
        assert ["crontabs"] == os.listdir((host / PLACE).parent)
        assert NEW == Spool(str(host)).read(*US)[0]
    assert {OLD if there else None, NEW} == seen


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_step_that_fails(tmp_path: Path, number: int) -> None:
    """It is told, and the old table is there, and nothing else; only what comes after the rename finds the new one."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    steps = made(host_of(tmp_path / "0"), install)
    for nth, step in enumerate(steps, 1):
        host = host_of(tmp_path / f"{nth}")
        before, spool.os = spool.os, Steps(nth, fail)  # type: ignore[attr-defined,assignment]
        try:
            with pytest.raises(OSError, match=os.strerror(number)) as told:
                install(Spool(str(host)))
        finally:
            spool.os = before  # type: ignore[attr-defined]
        assert number == told.value.errno
        expected = NEW if "rename" in steps[: nth - 1] else OLD
        assert (nth, step, expected) == (nth, step, Spool(str(host)).read(*US)[0])
        assert [ME.pw_name] == os.listdir(host / PLACE)


def test_a_disk_that_takes_a_part_of_a_write(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest follows."""
    real = os.write
    monkeypatch.setattr(spool.os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    install(spool_of(place))
    assert NEW == spool_of(place).read(*US)[0]


def test_two_at_once(place: Path) -> None:
    """Each table that is ever there is one of theirs, whole, and nothing is left."""
    tables = [bytes([65 + number]) * 20_000 + b"\n" for number in range(4)]
    spool_of(place).install(*US, tables[0])

    children = []
    for table in tables:
        if not (pid := os.fork()):
            with suppress(BaseException):
                for _ in range(25):
                    spool_of(place).install(*US, table)
                os._exit(0)
            os._exit(1)
        children.append(pid)
    for pid in children:
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            assert spool_of(place).read(*US)[0] in tables
        assert 0 == ended[1]
    assert [ME.pw_name] == os.listdir(place)


def test_a_stamp_tells_a_table_from_others(place: Path) -> None:
    """Who has read one replaces that one only, also where there was none."""
    found = spool_of(place)
    assert (b"", NONE) == found.read(*US)
    found.install(*US, OLD, NONE)
    stamp = found.read(*US)[1]
    with pytest.raises(Changed):
        found.install(*US, NEW, NONE)
    found.install(*US, NEW, stamp)
    with pytest.raises(Changed):
        found.install(*US, OLD, stamp)
    assert NEW == found.read(*US)[0]
    assert (True, False) == (found.remove(*US), found.remove(*US))


def test_links_are_not_followed(place: Path, tmp_path: Path) -> None:
    """Symbolic or hard, to a file of anybody's: refused with what mends it, and nothing is read or written."""
    found, other, table = spool_of(place), tmp_path / "other", place / ME.pw_name
    install(found)
    other.write_bytes(OLD)
    for link, said in ((table.symlink_to, "a symbolic link"), (table.hardlink_to, "2 hard links")):
        table.unlink()
        link(other)
        for act in (lambda: found.read(*US), lambda: install(found), lambda: found.remove(*US)):
            with pytest.raises(SpoolRefused, match=f"found {said}; expected .*; as root: rm {table}"):
                act()
        assert OLD == other.read_bytes()
    table.unlink()
    os.mkfifo(table)
    with pytest.raises(SpoolRefused, match="found a special file"):
        found.read(*US)


def test_a_link_in_place_of_the_temporary_file(place: Path, tmp_path: Path) -> None:
    """It is removed, not written to."""
    install(spool_of(place))
    (tmp_path / "other").write_bytes(OLD)
    (place / "tmp.jobqueued").symlink_to(tmp_path / "other")
    install(spool_of(place))
    assert (OLD, [ME.pw_name]) == ((tmp_path / "other").read_bytes(), os.listdir(place))


@NEEDS_ROOT
def test_a_table_of_somebody_else(place: Path) -> None:
    """Under this user's name, but another's: refused."""
    install(spool_of(place))
    os.chown(place / ME.pw_name, STRANGER, -1)
    with pytest.raises(SpoolRefused, match=f"user nobody owns it; expected owner {ME.pw_name}: chown {ME.pw_name} "):
        spool_of(place).read(*US)


@pytest.mark.parametrize("broken", ["", "/..", "/../.."])
def test_a_spool_that_others_may_exchange(place: Path, broken: str) -> None:
    """Nothing is read or written below a directory that all users may write and move."""
    install(spool_of(place))
    Path(f"{place}{broken}").resolve().chmod(0o777)
    for act in (lambda: spool_of(place).read(*US), lambda: install(spool_of(place))):
        with pytest.raises(SpoolRefused, match="all users may write"):
            act()


@NEEDS_ROOT
def test_the_spool_is_made_as_debian_has_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """root:crontab 1730, tables USER:crontab 0600, where there is that group, whatever the umask is."""
    monkeypatch.setattr(spool, "_group", lambda: STRANGER)
    before = os.umask(0o077)
    try:
        spool_of(place).install("nobody", STRANGER, NEW)
    finally:
        os.umask(before)
    found, table = place.stat(), (place / "nobody").stat()
    assert (0o41730, 0, STRANGER) == (found.st_mode, found.st_uid, found.st_gid)
    assert (0o100600, STRANGER, STRANGER) == (table.st_mode, table.st_uid, table.st_gid)
    assert 0o755 == place.parent.stat().st_mode & 0o777


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", ".a", "tmp.a", "a\nb", "a\0b", "a" * 201])
def test_names_that_are_no_file_of_the_spool(name: str) -> None:
    """They would be another file, or one that nobody reads."""
    assert not fits(name)
    assert all(map(fits, ("alice", "a.b", "a-b_c$", "DOMAIN+user", "jörg")))
