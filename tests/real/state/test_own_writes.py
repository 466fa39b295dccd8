"""Writes of others to state.db are told from our own, whenever they come; what it alone had comes back from memory."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueued.base.replace import changed
from jobqueued.model.commands import SaveBoot, SaveSubmission
from jobqueued.model.run import RunId
from jobqueued.state.db import opening, own_writes
from jobqueued.state.db.faults import CommitFailed, StateFault
from jobqueued.state.db.mirror import Keys, Mirror
from jobqueued.state.db.own_writes import OwnWrites
from jobqueued.state.db.store import NEWEST, Store
from tests.support.saving import Saving
from tests.support.states import save_ended

DB, LOG = "state.db", "state.db-wal"


@pytest.fixture
def own(tmp_path: Path) -> OwnWrites:
    """A state.db and its log as we have left them."""
    for part in (DB, LOG):
        (tmp_path / part).write_bytes(bytes(9000))
    return OwnWrites(tmp_path / DB)


def write(path: Path, data: bytes = b"x", at: int = 0) -> None:
    """Write in place, at another instant than the last."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


def replace(path: Path) -> None:
    """Put a copy in its place, with its times."""
    shutil.move(shutil.copy2(path, path.with_name("copy")), path)


OTHERS: dict[str, tuple[StateFault, Callable[[Path], Any]]] = {
    "removed": (StateFault.BROKEN, lambda state: (state / DB).unlink()),
    "replaced": (StateFault.BROKEN, lambda state: replace(state / DB)),
    "cut": (StateFault.BROKEN, lambda state: os.truncate(state / DB, 4096)),
    "longer": (StateFault.FOREIGN, lambda state: os.truncate(state / DB, 1 << 20)),
    "overwritten": (StateFault.FOREIGN, lambda state: write(state / DB, at=8000)),
    "the log removed": (StateFault.FOREIGN, lambda state: (state / LOG).unlink()),
    "the log replaced": (StateFault.FOREIGN, lambda state: replace(state / LOG)),
    "the log cut": (StateFault.FOREIGN, lambda state: os.truncate(state / LOG, 4096)),
    "the log overwritten": (StateFault.FOREIGN, lambda state: write(state / LOG)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_of_others(own: OwnWrites, tmp_path: Path, what: str) -> None:
    """Whatever others do is noticed."""
    assert own.trouble() is None
    fault, act = OTHERS[what]
    act(tmp_path)
    found = own.trouble()
    assert found is not None
    assert (fault, what in ("removed", "replaced")) == (found.fault, own.is_another())


@pytest.mark.parametrize("what", [what for what in OTHERS if what != "the log overwritten"])
def test_in_the_midst_of_our_own(own: OwnWrites, tmp_path: Path, what: str) -> None:
    """What is done while we commit is not taken for our own; but for a log that is overwritten, of which none tells."""
    fault, act = OTHERS[what]
    act(tmp_path)
    own.note()
    found = own.trouble()
    assert found is not None
    assert fault is found.fault


def test_a_hole(own: OwnWrites, tmp_path: Path) -> None:
    """A log that was cut in the midst of our writing to it has a hole, and its size tells nothing."""
    write(tmp_path / LOG, bytes(1 << 20))
    own.note()
    os.truncate(tmp_path / LOG, 1 << 16)
    write(tmp_path / LOG, bytes(9000), at=1 << 20)
    own.note()
    assert own.trouble() is not None


def test_blocks_that_come_and_go(own: OwnWrites, tmp_path: Path) -> None:
    """A file system allocates ahead, and takes that back, or counts later, without a write: that is nobody's."""

    def allocate(size: str) -> None:
        for part in (DB, LOG):
            at = (tmp_path / part).stat().st_mtime_ns
            subprocess.run(["fallocate", "--keep-size", "--length", size, tmp_path / part], check=True)
            os.utime(tmp_path / part, ns=(1, at))

    before = (tmp_path / LOG).stat().st_blocks
    allocate("1M")
    assert (tmp_path / LOG).stat().st_blocks > before
    assert own.trouble() is None
    os.truncate(tmp_path / LOG, 0)
    allocate("1M")
    own.note_tidied()
    os.truncate(tmp_path / LOG, 0)
    os.truncate(tmp_path / LOG, 9000)  # written, and not counted yet
    own.note()
    assert own.trouble() is None


def test_our_own(own: OwnWrites, tmp_path: Path) -> None:
    """The log grows by us, and, where it is long, state.db; one that we have emptied begins anew, and so does one that
    was not there."""
    write(tmp_path / LOG, bytes(20_000))
    own.note()
    assert own.trouble() is None
    for part in (DB, LOG):
        write(tmp_path / part, bytes(4096 * 4120))
    own.note()
    assert own.trouble() is None
    os.truncate(tmp_path / LOG, 0)
    write(tmp_path / DB, bytes(9000))
    own.note_tidied()
    assert own.trouble() is None
    os.truncate(tmp_path / DB, 0)
    own.note_tidied()
    assert own.trouble() is not None
    (tmp_path / LOG).unlink()
    (tmp_path / DB).write_bytes(b"x")
    new = OwnWrites(tmp_path / DB)
    (tmp_path / LOG).write_bytes(b"x")
    new.note()
    assert new.trouble() is None


def test_who_can_not_look(own: OwnWrites, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails is no writer: nothing is set aside for that."""

    def fails(_: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(own_writes.os, "stat", fails)
        own.note()
        found = own.trouble()
        assert found is not None
        assert (StateFault.FAILING, False) == (found.fault, own.is_another())
    assert own.trouble() is None


@pytest.fixture
def saving(tmp_path: Path) -> Iterator[Saving]:
    """Commits of what memory has; `old` is what was before them."""
    saving = Saving(tmp_path)
    saving.begin()
    save_ended(saving.store, 2, 3)
    saving.store.tidy()
    shutil.copy(tmp_path / "state" / DB, tmp_path / "old")
    saving.run = changed(saving.run, reason="new")
    saving.take()
    assert saving.commits.make()
    saving.store.tidy()
    yield saving
    saving.store.close()


def put_back(saving: Saving) -> None:
    """Copy the older one over it, in place."""
    shutil.copyfile(saving.paths.state.parent / "old", saving.paths.state / DB)


def test_tidying_hides_nothing(saving: Saving) -> None:
    """The log is not moved into what is not ours; the next commit mends it, and history stays."""
    put_back(saving)
    saving.store.tidy()
    assert saving.store.failure is not None
    assert saving.commits
    assert saving.commits.make()
    assert ("trouble", True) == (saving.log.lines[-1][0], "writes everything else again" in saving.log.lines[-1][1])
    assert ([saving.run], [3, 2]) == (saving.store.load()[1], list(saving.store.history("job", 9)))


def test_tidying_is_our_own(saving: Saving) -> None:
    """Commits and what comes between them are not taken for those of others."""
    saving.log.lines.clear()
    for _ in range(3):
        saving.store.tidy()
        saving.take()
        assert saving.commits.make()
    assert [] == saving.log.lines


def test_damage_behind_what_is_in_memory(saving: Saving) -> None:
    """Pages of history that SQLite remembers are looked at as they are by now."""
    page = saving.store.query("SELECT rootpage FROM sqlite_master WHERE name = 'history'")[0][0]
    assert 2 == len(saving.store.ended(NEWEST, 0, 9, lambda *_: True).records)
    write(saving.paths.state / DB, bytes(4096), at=4096 * (page - 1))
    saving.batch.take(SaveBoot("boot"))
    assert saving.commits.make()
    assert "moved to state.db.broken-1" in saving.log.lines[-1][1]
    assert ([saving.run], []) == (saving.store.load()[1], list(saving.store.history("job", 9)))


def test_no_room_to_mend_it(saving: Saving, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written again once there is room, though what failed last was another thing."""
    put_back(saving)
    saving.batch.take(SaveBoot("boot"))
    with monkeypatch.context() as patched:
        patched.setattr(opening, "to_write", no_room)
        assert not saving.commits.make()
    saving.wait()
    assert saving.commits.make()
    assert [saving.run] == saving.store.load()[1]


def no_room(*_: object, **__: object) -> None:
    """A disk that is full."""
    raise CommitFailed("no room", StateFault.FULL)


def test_nothing_but_history_stays(saving: Saving) -> None:
    """What is in a file that others have written, and not in memory, goes."""
    put_back(saving)
    saving.run = changed(saving.run, id=RunId("job", 9))
    assert saving.commits.last()
    assert [saving.run] == saving.store.load()[1]


def test_keys(tmp_path: Path) -> None:
    """Keys come back as long as history of their submissions is kept, and are gone with it."""
    store = Store(tmp_path)
    for number in (1, 2):
        store.commit({}, {}, submissions=[SaveSubmission(f"host/{number}", "{}", f"key{number}")])
    store.commit({}, {}, over=["host/1"])
    store.forget_keys(["host/1", "host/2", "host/3"])
    store.failure = CommitFailed("it was removed or replaced", StateFault.BROKEN)
    mended = store.mend()
    assert mended is not None
    assert {"host/2": "key2"} == mended.mirror.keys
    store.close()


def test_texts() -> None:
    """Texts come back byte for byte, empty ones too, and what is gone does not."""
    mirror = Mirror({"boot": "a", "saved": "1", "untaken": "1"}, {"a": b"1", "b": b"\0\xff" * 999}, Keys())
    mirror.follow({"hold": "x"}, {"a": None, "c": b""}, {"host/1": "key"})
    mirror.follow({"hold": None}, {}, {"host/1": "other"})
    assert ({"boot": "a"}, {"b": b"\0\xff" * 999, "c": b""}) == (mirror.meta, mirror.files)
    assert {"host/1": "other"} == mirror.keys
