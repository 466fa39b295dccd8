"""watch: the files of a directory that comes, goes and changes under the daemon, with real inotify and no clock."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueued.base.instants import SECOND
from jobqueued.child.watcher import inotify
from jobqueued.jobdir import trust
from jobqueued.jobdir.acceptance import LONGEST_WAIT
from jobqueued.jobdir.inbox import AGAIN, RESCAN
from jobqueued.jobdir.trust import read_trusted
from jobqueued.jobdir.watch import MOST_UNREAD, SLICE
from jobqueued.jobfile.merged_tree import TOP
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model.events import JobsRead
from jobqueued.settings.drop_in_files import is_job_file
from tests.support import REPO
from tests.support.directory import Directory
from tests.support.host import DEADLINE
from tests.support.users import NEEDS_ROOT, believing


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Directory]:
    """An empty directory, scanned once."""
    (tmp_path / "jobqueue.d").mkdir()
    directory = Directory(tmp_path / "jobqueue.d")
    assert [] == directory.scan()
    yield directory
    directory.watch.inbox.close()


def test_files_are_read_in_byte_order(tmp_path: Path) -> None:
    """The first scan reads what is there, by name."""
    directory = Directory(tmp_path)
    for name in ("b.yaml", "a.yml", "Z.yaml"):
        directory.write(name, f"from-{name[0].lower()}")
    assert ["Z.yaml: from-z", "a.yml: from-a", "b.yaml: from-b"] == directory.scan()
    directory.watch.inbox.close()


def test_only_what_changed_is_read(jobs: Directory) -> None:
    """A scan reads the files written since the last one, and none without a change."""
    jobs.write("a.yaml", "a")
    jobs.write("b.yaml", "b")
    assert ["a.yaml: a", "b.yaml: b"] == jobs.scan()
    assert ([], []) == (jobs.scan(), jobs.read)
    jobs.write("b.yaml", "b", "c")
    assert (["b.yaml: b c"], ["b.yaml"]) == (jobs.scan(), jobs.read)


def test_a_file_moved_in_is_read(jobs: Directory, tmp_path: Path) -> None:
    """rename(2) over a file, as editors and package managers do, is a change."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    (tmp_path / "new").write_text("jobs: {b: {command: x}}")
    os.rename(tmp_path / "new", jobs.path / "a.yaml")
    assert ["a.yaml: b"] == jobs.scan()


def test_a_file_is_not_read_while_it_is_written(jobs: Directory) -> None:
    """From the first byte to close(2) a file keeps its last content, though a part of the new one would be valid."""
    jobs.write("a.yaml", "a", "b")
    jobs.scan()
    with open(jobs.path / "a.yaml", "w") as file:
        file.write("jobs: {a: {command: rm -rf /srv/old}}")
        file.flush()
        os.fchmod(file.fileno(), 0o600)
        jobs.write("other.yaml", "c")
        assert (["other.yaml: c"], ["other.yaml"]) == (jobs.scan(), jobs.read)
    assert ["a.yaml: a"] == jobs.scan()


def test_a_bad_file_harms_no_other_and_keeps_its_jobs(jobs: Directory) -> None:
    """A refused file has no event; what is wrong is said once, and once that it is mended."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    (jobs.path / "a.yaml").write_text("5")
    jobs.write("b.yaml", "b")
    assert ["b.yaml: b"] == jobs.scan()
    wrong = {"a.yaml": [f"found 5; expected {TOP.accepted}"]}
    assert (wrong, wrong) == (jobs.problems(), jobs.changes())
    (jobs.path / "a.yaml").write_text("5")
    assert ([], {}, wrong) == (jobs.scan(), jobs.changes(), jobs.problems())
    jobs.write("a.yaml", "a")
    assert (["a.yaml: a"], {"a.yaml": []}, {}) == (jobs.scan(), jobs.changes(), jobs.problems())


def test_a_warning_is_said_once_and_refuses_nothing(jobs: Directory) -> None:
    """A file with warnings only is accepted; they are news once."""
    for expected in (["a.yaml"], []):
        (jobs.path / "a.yaml").write_text("jobs: {a: {command: x, schedule: '*/90 * * * *'}}")
        assert (["a.yaml: a"], {}, expected) == (jobs.scan(), jobs.problems(), list(jobs.changes()))


def test_a_vanished_file_is_gone_after_a_while(jobs: Directory) -> None:
    """A file counts as removed when it has been missing for 5 s, and the deadline says when that is."""
    jobs.write("a.yaml", "a")
    jobs.scan(0)
    (jobs.path / "a.yaml").unlink()
    assert ([], 7 + 5 * SECOND) == (jobs.scan(7), jobs.watch.deadline)
    assert [] == jobs.scan(6 + LONGEST_WAIT)
    assert (["a.yaml gone"], None) == (jobs.scan(7 + LONGEST_WAIT), jobs.watch.deadline)
    assert [] == jobs.scan(8 + LONGEST_WAIT)


def test_a_file_that_comes_back_in_time_was_never_gone(jobs: Directory) -> None:
    """Delete and re-create, as some editors save, removes nothing, not even if what came back is wrong."""
    for text, events in (("jobs: {a: {command: y}}", ["a.yaml: a"]), ("5", [])):
        jobs.write("a.yaml", "a")
        jobs.scan(0)
        (jobs.path / "a.yaml").unlink()
        jobs.scan(1)
        (jobs.path / "a.yaml").write_text(text)
        assert (events, None) == (jobs.scan(2), jobs.watch.deadline)
        assert [] == jobs.scan(3 * LONGEST_WAIT)


def test_a_refused_file_that_vanishes_is_forgotten(jobs: Directory) -> None:
    """What was wrong with a file ends with it."""
    (jobs.path / "a.yaml").write_text("5")
    jobs.scan(0)
    (jobs.path / "a.yaml").unlink()
    jobs.scan(1)
    assert (["a.yaml gone"], {}, {"a.yaml": []}) == (jobs.scan(1 + LONGEST_WAIT), jobs.problems(), jobs.changes())


def test_an_id_stays_with_the_file_that_had_it(jobs: Directory) -> None:
    """A second file with the id is refused as a whole until the first gives it up."""
    jobs.write("b.yaml", "x")
    jobs.scan()
    jobs.write("a.yaml", "x", "y")
    assert [] == jobs.scan()
    where = f"{jobs.path}/b.yaml:2"
    assert {"a.yaml": [f"found the id 'x'; expected an id that no other file uses ({where} has it)"]} == jobs.problems()
    jobs.write("b.yaml", "z")
    assert (["a.yaml: x y", "b.yaml: z"], {}) == (jobs.scan(), jobs.problems())


def test_a_held_file_is_refused_once(jobs: Directory) -> None:
    """A file in conflict is no news again when it is written again, and its conflict ends with it."""
    jobs.write("a.yaml", "x")
    jobs.write("b.yaml", "x")
    assert (["a.yaml: x"], ["b.yaml"]) == (jobs.scan(0), list(jobs.changes()))
    jobs.write("b.yaml", "x")
    assert ([], {}) == (jobs.scan(0), jobs.changes())
    (jobs.path / "b.yaml").unlink()
    jobs.scan(0)
    (jobs.path / "a.yaml").unlink()
    assert [] == jobs.scan(0)


def test_a_renamed_file_keeps_its_jobs(jobs: Directory) -> None:
    """Jobs move to the new name at once, before the old name counts as gone."""
    jobs.write("a.yaml", "x")
    jobs.scan(0)
    os.rename(jobs.path / "a.yaml", jobs.path / "b.yaml")
    assert ["b.yaml: x"] == jobs.scan(1)
    assert ["a.yaml gone"] == jobs.scan(1 + LONGEST_WAIT)


CYCLE = ["a.yaml: x y", "b.yaml: y x", "a.yaml: y", "b.yaml: x"]
"""Told of two files that swap their ids: at first each still with what it gives away, so that nothing is removed."""


def test_files_that_swap_ids_are_accepted_together(jobs: Directory) -> None:
    """Ids may change hands in one step, and also one after the other."""
    jobs.write("a.yaml", "x")
    jobs.write("b.yaml", "y")
    jobs.scan()
    jobs.write("a.yaml", "y")
    assert ([], ["a.yaml"]) == (jobs.scan(), list(jobs.problems()))
    jobs.write("b.yaml", "x")
    assert (CYCLE, {}) == (jobs.scan(), jobs.problems())


def missing(path: Path) -> dict[str, list[str]]:
    """The Problem of a directory that is not there."""
    words = "cannot be read: No such file or directory; its last good jobs remain in force"
    return {path.name: [f"{words}; restore it, or, to have no jobs: mkdir {path}"]}


def test_a_directory_that_comes_later_is_seen(tmp_path: Path) -> None:
    """Neither the directory nor its parents need exist; inotify tells when they do."""
    directory = Directory(tmp_path / "etc" / "local" / "jobqueue.d")
    assert ([], missing(directory.path)) == (directory.scan(), directory.problems())
    for parent in reversed(directory.path.parents[:2]):
        parent.mkdir()
        assert [] == directory.scan()
    directory.path.mkdir()
    directory.write("a.yaml", "a")
    assert (["a.yaml: a"], {}) == (directory.scan(), directory.problems())
    directory.write("b.yaml", "b")
    assert ["b.yaml: b"] == directory.scan()
    directory.watch.inbox.close()


def test_a_directory_that_goes_keeps_its_jobs(jobs: Directory, tmp_path: Path) -> None:
    """Moved away, it says nothing about its files; what is made anew is seen, and nothing in the old one is."""
    jobs.write("a.yaml", "a")
    jobs.write("b.yaml", "b")
    jobs.scan(0)
    os.rename(jobs.path, tmp_path / "old")
    assert ([], missing(jobs.path), None) == (jobs.scan(0), jobs.problems(), jobs.watch.deadline)
    assert ([], ["a", "b"]) == (jobs.scan(2 * LONGEST_WAIT), in_force(jobs, "a.yaml", "b.yaml"))
    jobs.path.mkdir()
    jobs.write("b.yaml", "b")
    (tmp_path / "old" / "c.yaml").write_text("jobs: {c: {command: x}}")
    assert (["b.yaml: b"], {}) == (jobs.scan(0), jobs.problems())
    assert ["a.yaml gone"] == jobs.scan(LONGEST_WAIT)


def test_a_directory_that_is_removed_keeps_its_jobs(jobs: Directory) -> None:
    """Its files go first, each is told, and still only an empty directory says that all are gone."""
    for name in ("a", "b"):
        jobs.write(f"{name}.yaml", name)
    jobs.scan(0)
    (jobs.path / "a.yaml").unlink()
    assert ([], LONGEST_WAIT) == (jobs.scan(0), jobs.watch.deadline)
    shutil.rmtree(jobs.path)
    assert ([], missing(jobs.path), None) == (jobs.scan(1), jobs.problems(), jobs.watch.deadline)
    assert ([], ["a", "b"]) == (jobs.scan(2 * LONGEST_WAIT), in_force(jobs, "a.yaml", "b.yaml"))
    jobs.path.mkdir()
    assert ([], {}, 3 * LONGEST_WAIT) == (jobs.scan(2 * LONGEST_WAIT), jobs.problems(), jobs.watch.deadline)
    assert ["a.yaml gone", "b.yaml gone"] == jobs.scan(3 * LONGEST_WAIT)
    jobs.write("d.yaml", "d")
    assert (["d.yaml: d"], ["d.yaml"]) == (jobs.scan(3 * LONGEST_WAIT), jobs.read)


def in_force(jobs: Directory, *names: str) -> list[str]:
    return [job.id for name in names for job in jobs.watch.last_good(str(jobs.path / name))]


def test_a_new_directory_renamed_over_the_old_is_seen(jobs: Directory, tmp_path: Path) -> None:
    """A whole directory may be put in place in one step, and is watched from then on."""
    jobs.write("a.yaml", "a")
    jobs.scan(0)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "b.yaml").write_text("jobs: {b: {command: x}}")
    os.rename(jobs.path / "a.yaml", tmp_path / "new" / "a.yaml")
    os.rename(tmp_path / "new", jobs.path)
    assert ["a.yaml: a", "b.yaml: b"] == jobs.scan(0)
    jobs.write("c.yaml", "c")
    assert (["c.yaml: c"], None) == (jobs.scan(1), jobs.watch.deadline)


def test_a_link_to_another_directory_is_followed_at_once(tmp_path: Path) -> None:
    """A directory that is a symbolic link may be pointed elsewhere in one step."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(f"jobs: {{{version}: {{command: x}}}}")
    (tmp_path / "jobqueue.d").symlink_to("one")
    directory = Directory(tmp_path / "jobqueue.d")
    assert ["a.yaml: one"] == directory.scan()
    (tmp_path / "new").symlink_to("two")
    os.rename(tmp_path / "new", tmp_path / "jobqueue.d")
    assert ["a.yaml: two"] == directory.scan()
    directory.write("b.yaml", "b")
    assert ["b.yaml: b"] == directory.scan()
    directory.watch.inbox.close()


def test_lost_events_cost_no_change(jobs: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an overflow of inotify's queue the directory is listed, and what changed is read."""
    for name in ("a", "b", "c"):
        jobs.write(f"{name}.yaml", name)
    jobs.scan(0)
    jobs.write("b.yaml", "b", "d")
    (jobs.path / "c.yaml").unlink()
    jobs.forget_events()
    overflow = [inotify.InotifyEvent(-1, inotify.IN_Q_OVERFLOW, "")]
    monkeypatch.setattr(inotify, "events", lambda _: iter(overflow))
    assert (["b.yaml: b d"], ["b.yaml"], LONGEST_WAIT) == (jobs.scan(0), jobs.read, jobs.watch.deadline)


def test_a_reload_sees_what_inotify_cannot(jobs: Directory) -> None:
    """After `relist` a scan finds changes without events."""
    jobs.write("a.yaml", "a")
    jobs.forget_events()
    assert [] == jobs.scan()
    jobs.watch.inbox.relist()
    assert ["a.yaml: a"] == jobs.scan()


def test_without_inotify_it_is_listed_every_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user can have so many instances only; the daemon starts all the same, and watches once it has one."""

    def none_left() -> int:
        raise OSError(errno.EMFILE, "inotify_init1: Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(inotify, "instance", none_left)
        directory = Directory(tmp_path)
        assert ([], RESCAN) == (directory.scan(), directory.watch.deadline)
        advice = "cannot be watched, so it is read once a minute: raise fs.inotify.max_user_instances"
        assert {tmp_path.name: [advice]} == directory.problems()
    directory.write("a.yaml", "a")
    assert (["a.yaml: a"], {}, None) == (directory.scan(RESCAN), directory.problems(), directory.watch.deadline)
    directory.write("b.yaml", "b")
    assert ["b.yaml: b"] == directory.scan(RESCAN)
    directory.watch.inbox.close()


def test_without_watches_every_scan_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel gives no watch, that is said, and a scan reads what changed all the same."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "inotify_add_watch: No space left on device")

    monkeypatch.setattr(inotify, "watch", full)
    directory = Directory(tmp_path)
    for name in ("a", "b"):
        directory.write(f"{name}.yaml", name)
        assert [f"{name}.yaml: {name}"] == directory.scan()
    advice = "cannot be watched, so it is read once a minute: raise fs.inotify.max_user_watches"
    assert {tmp_path.name: [advice]} == directory.problems()
    directory.watch.inbox.close()


# ── over restarts ──


def again(jobs: Directory) -> Directory:
    """A later daemon's Watch on the same directory, with what the first one had accepted."""
    return Directory(jobs.path, {name: text for name, text in jobs.kept.items() if text is not None})


def test_a_broken_file_keeps_its_jobs_over_a_restart(jobs: Directory) -> None:
    """A restart beside a refused file runs its last good text, and says what is wrong with the file."""
    jobs.write("a.yaml", "a", "b")
    jobs.write("b.yaml", "c")
    jobs.scan()
    (jobs.path / "a.yaml").write_text("5")
    jobs.scan()
    later = again(jobs)
    assert (["b.yaml: c", "a.yaml: a b"], ["a.yaml"]) == (later.scan(), list(later.problems()))
    assert ["a", "b"] == [job.id for job in later.watch.last_good(str(jobs.path / "a.yaml"))]
    assert {} == later.accepted
    jobs.write("a.yaml", "d")
    assert (["a.yaml: d"], {}, {"a.yaml": b"jobs:\n  d: {command: x}\n"}) == (
        later.scan(),
        later.problems(),
        later.accepted,
    )
    later.watch.inbox.close()


def test_what_is_the_same_is_parsed_once(jobs: Directory) -> None:
    """A restart costs one parse a file: what was accepted is what is there."""
    for name in "abc":
        jobs.write(f"{name}.yaml", name)
    jobs.scan()
    later = again(jobs)
    assert (["a.yaml: a", "b.yaml: b", "c.yaml: c"], ["a.yaml", "b.yaml", "c.yaml"]) == (later.scan(), later.read)
    assert {} == later.accepted
    later.watch.inbox.close()


def test_what_went_while_nobody_looked_is_gone_after_a_while(jobs: Directory) -> None:
    """A file that is not there at the start has 5 s to come back; its jobs never come, but its text is kept so long."""
    jobs.write("a.yaml", "a")
    jobs.write("b.yaml", "b")
    jobs.scan()
    (jobs.path / "a.yaml").unlink()
    later = again(jobs)
    assert (["b.yaml: b"], {}, 7 + LONGEST_WAIT) == (later.scan(7), later.accepted, later.watch.deadline)
    later.watch.inbox.relist()
    assert ([], False) == (later.scan(6 + LONGEST_WAIT), later.watch.complete)
    gone = ["a.yaml gone"], {"a.yaml": None}, None, True
    assert gone == (later.scan(7 + LONGEST_WAIT), later.accepted, later.watch.deadline, later.watch.complete)
    later.watch.inbox.close()


@pytest.mark.parametrize("text", ["jobs: {b: {command: x}}", "jobs: ["])
def test_what_is_away_for_a_moment_at_the_start_comes_back(jobs: Directory, text: str) -> None:
    """A file that is back within 5 s counts as it is; one that is broken then has its last good jobs."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    (jobs.path / "a.yaml").unlink()
    later = again(jobs)
    assert ([], False) == (later.scan(), later.watch.complete)
    (jobs.path / "a.yaml").write_text(text)
    assert [f"a.yaml: {'a' if text.endswith('[') else 'b'}"] == later.scan(LONGEST_WAIT - 1)
    assert ([], True, None) == (later.scan(2 * LONGEST_WAIT), later.watch.complete, later.watch.deadline)
    (jobs.path / "a.yaml").write_text("5")
    assert [] == later.scan(2 * LONGEST_WAIT)
    assert later.watch.last_good(str(jobs.path / "a.yaml"))
    later.watch.inbox.close()


UNTELLING = [errno.EIO, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE]


@pytest.mark.parametrize("number", UNTELLING)
def test_a_file_that_can_not_be_read_is_tried_again(
    jobs: Directory, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is neither gone nor broken: it has its last good jobs, also at a start, and is read once that can be."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    jobs.write("a.yaml", "b")
    with monkeypatch.context() as patch:
        patch.setattr(trust, "read_trusted", _fails(number))
        patch.setattr(os, "lstat", _fails(number, "a.yaml"))
        assert ([], ["a.yaml"], AGAIN) == (jobs.scan(), list(jobs.changes()), jobs.watch.deadline)
        later = again(jobs)
        assert (["a.yaml: a"], True, AGAIN) == (later.scan(), later.watch.complete, later.watch.deadline)
        assert ([], {}, {}) == (later.scan(LONGEST_WAIT), later.changes(), later.accepted)
        assert ([], {}, 2 * AGAIN) == (later.scan(AGAIN), later.changes(), later.watch.deadline)
    for directory in (jobs, later):
        told = directory.scan(2 * AGAIN), directory.problems(), directory.watch.deadline
        assert (["a.yaml: b"], {}, None) == told
    later.watch.inbox.close()


@pytest.mark.parametrize("number", UNTELLING)
def test_a_directory_that_can_not_be_read_is_tried_again(
    jobs: Directory, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A start that can't list it has the last good jobs of all files; what went meanwhile has its 5 s after that."""
    for name in ("a", "b"):
        jobs.write(f"{name}.yaml", name)
    jobs.scan()
    (jobs.path / "b.yaml").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", _fails(number))
        patch.setattr(os, "lstat", _fails(number, ".yaml"))
        later = again(jobs)
        assert (["a.yaml: a", "b.yaml: b"], False, AGAIN) == (later.scan(), later.watch.complete, later.watch.deadline)
        advice = f"cannot be read: {os.strerror(number)}; its last good jobs remain in force"
        assert {jobs.path.name: [advice]} == later.problems()
        assert ([], {}) == (later.scan(AGAIN), later.changes())
    assert (["a.yaml: a"], {}, True) == (later.scan(2 * AGAIN), later.problems(), later.watch.complete)
    assert (["b.yaml gone"], {"b.yaml": None}) == (later.scan(2 * AGAIN + LONGEST_WAIT), later.accepted)
    later.watch.inbox.close()


def _fails(number: int, name: str = "") -> Callable[..., Any]:
    """A call that fails for paths that end so, and else is lstat(2)."""
    lstat = os.lstat

    def call(path: str, *_: object, **__: object) -> Any:
        if not str(path).endswith(name):
            return lstat(path)
        raise OSError(number, os.strerror(number))

    return call


def test_an_id_stays_with_its_file_over_a_restart(jobs: Directory) -> None:
    """The file that had an id keeps it, though another comes first by name; an edit of it is no loss."""
    jobs.write("b.yaml", "x")
    jobs.scan()
    jobs.write("a.yaml", "x")
    jobs.write("b.yaml", "x", "y")
    later = again(jobs)
    assert (["b.yaml: x y"], ["a.yaml"]) == (later.scan(), list(later.problems()))
    later.watch.inbox.close()


def test_ids_may_move_while_nobody_looks(jobs: Directory) -> None:
    """Files that swapped their ids during a downtime are accepted together."""
    jobs.write("a.yaml", "x")
    jobs.write("b.yaml", "y")
    jobs.scan()
    jobs.write("a.yaml", "y")
    jobs.write("b.yaml", "x")
    later = again(jobs)
    assert (CYCLE, {}) == (later.scan(), later.problems())
    later.watch.inbox.close()


def test_what_this_version_can_not_read_is_judged_by_its_file(jobs: Directory) -> None:
    """A kept text that is refused today gives no jobs."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    jobs.kept["a.yaml"] = b"5"
    later = again(jobs)
    assert ["a.yaml: a"] == later.scan()
    later.watch.inbox.close()


# ── writers ──


def test_a_file_in_writing_is_not_read_at_the_start(jobs: Directory) -> None:
    """Half a file that is valid is not taken for a whole one, not even by a daemon that starts meanwhile."""
    jobs.write("a.yaml", "a", "b")
    jobs.scan()
    with open(jobs.path / "a.yaml", "w") as file:
        file.write("jobs: {a: {command: rm -rf /srv/old}}")
        file.flush()
        later = again(jobs)
        assert (["a.yaml: a b"], ["a.yaml"]) == (later.scan(), list(later.changes()))
        assert [] == later.scan()
    assert (["a.yaml: a"], {"a.yaml": []}) == (later.scan(), later.changes())
    later.watch.inbox.close()


def test_a_reader_is_no_writer(jobs: Directory) -> None:
    """Who only reads a file keeps nobody from reading it, and leaves nothing behind."""
    with open(jobs.path / "a.yaml", "w") as file:
        file.write("jobs: {a: {command: x}}")
    with open(jobs.path / "a.yaml"):
        jobs.watch.inbox.relist()
        assert ["a.yaml: a"] == jobs.scan()
    with open(jobs.path / "a.yaml", "r+", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        file.write("jobs: {b: {command: x}}")  # EWOULDBLOCK at its open if a lease were left
    assert ["a.yaml: b"] == jobs.scan()


def test_where_there_are_no_leases_files_are_read(jobs: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without leases (NFS) is read as before."""

    def none(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(fcntl, "fcntl", none)
    jobs.write("a.yaml", "a")
    jobs.watch.inbox.relist()
    assert ["a.yaml: a"] == jobs.scan()


# ── many ──


def test_many_files_are_read_in_slices(jobs: Directory) -> None:
    """No call reads more than a slice, and every job is told once, in the order of the names."""
    for number in range(300):
        jobs.write(f"{number:03}.yaml", *(f"j{number}-{index}" for index in range(10)))
    jobs.watch.inbox.drain()
    told, read = [], []
    while jobs.watch.has_more or not told:
        jobs.read.clear()
        told += jobs.watch.scan(0)
        read.append(len(jobs.read))
    assert [f"{number:03}.yaml" for number in range(300)] == [Path(event.file).name for event in told]
    assert len(read) > 10
    assert max(read) <= SLICE


def test_a_big_file_is_read_in_slices(jobs: Directory) -> None:
    """It comes into force as a whole all the same, and one that changes meanwhile is read again."""
    jobs.write("a.yaml", *(f"j{number}" for number in range(1000)))
    jobs.watch.inbox.drain()
    calls = 0
    while not (told := jobs.watch.scan(0)):
        calls += 1
        if calls == 3:
            jobs.write("a.yaml", "a")
    assert ([1000], True) == ([len(event.jobs) for event in told if isinstance(event, JobsRead)], calls > 10)
    assert ["a.yaml: a"] == jobs.scan(0)


def test_a_link_to_dev_null_disables_a_file(jobs: Directory) -> None:
    """Its jobs go, which is told and no error; once it is a file again they are back."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    (jobs.path / "new").symlink_to("/dev/null")
    os.rename(jobs.path / "new", jobs.path / "a.yaml")
    told = {"a.yaml": ["is masked by its link to /dev/null, so it has no jobs"]}
    assert (["a.yaml: "], told, True) == (jobs.scan(), jobs.changes(), jobs.watch.complete)
    assert {} == jobs.problems()
    jobs.write("new", "b")
    os.rename(jobs.path / "new", jobs.path / "a.yaml")
    assert ["a.yaml: b"] == jobs.scan()


def test_what_changes_between_slices_is_read_after_them(jobs: Directory) -> None:
    """A file that changes, or goes, while others are still to be read is not lost."""
    for number in range(100):
        jobs.write(f"{number:02}.yaml", *(f"j{number}-{index}" for index in range(20)))
    jobs.watch.inbox.drain()
    assert [] == jobs.watch.scan(0)
    assert jobs.watch.has_more
    jobs.write("00.yaml", "new")
    (jobs.path / "99.yaml").unlink()
    jobs.watch.inbox.drain()
    told = jobs.scan(0)
    assert ("00.yaml: new", 100) == (told[-1], len(told))
    assert [] == jobs.scan(0)


def test_a_slow_rescan_finds_what_no_event_told(jobs: Directory) -> None:
    """Once a minute a wake-up that is there anyway lists the directory; between, it does not."""
    jobs.write("a.yaml", "a")
    jobs.forget_events()
    jobs.watch.inbox.rescan(RESCAN - 1)
    assert [] == jobs.scan(RESCAN - 1)
    jobs.watch.inbox.rescan(RESCAN)
    assert ["a.yaml: a"] == jobs.scan(RESCAN)
    jobs.read.clear()
    jobs.watch.inbox.rescan(RESCAN + 1)
    assert not jobs.watch.has_more


def test_a_thousand_files_at_once_may_swap_ids(jobs: Directory) -> None:
    """However many slices that takes, files that change together are accepted together."""
    for number in range(1000):
        jobs.write(f"{number}.yaml", f"j{number}")
    assert 1000 == len(jobs.scan())
    for number in range(1000):
        jobs.write(f"{number}.yaml", f"j{(number + 1) % 1000}")
    told = dict(event.split(": ") for event in jobs.scan())
    assert ({f"{number}.yaml": f"j{(number + 1) % 1000}" for number in range(1000)}, {}) == (told, jobs.problems())


@pytest.mark.parametrize("moves", [{"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}])
def test_jobs_that_change_places_are_never_removed(jobs: Directory, moves: dict[str, str]) -> None:
    """Files that pass jobs around in a cycle, in one step: whoever is told has every job all the time."""
    for name in moves:
        jobs.write(f"{name}.yaml", f"{name}1", f"{name}2")
    there: dict[str, set[str]] = {}
    _listen(jobs, 0, there)
    everything = {job for ids in there.values() for job in ids}
    for source, target in moves.items():
        jobs.write(f"{target}.yaml", f"{target}2", f"{source}1")
    jobs.watch.inbox.drain()
    while jobs.watch.has_more:
        for event in jobs.watch.scan(0):
            ids = {job.id for job in event.jobs} if isinstance(event, JobsRead) else set()
            left = there[Path(event.file).name] - ids
            there = {name: had - ids for name, had in there.items()} | {Path(event.file).name: ids}
            assert set() == left - {job for others in there.values() for job in others}
    assert everything == {job for ids in there.values() for job in ids}


def test_a_refused_file_refuses_no_third(jobs: Directory) -> None:
    """A file that is refused because of another keeps no id from a third."""
    jobs.write("a.yaml", "x")
    jobs.write("b.yaml", "x", "y")
    jobs.write("c.yaml", "y")
    assert (["a.yaml: x", "c.yaml: y"], ["b.yaml"]) == (jobs.scan(), list(jobs.problems()))


def test_an_emptied_file_keeps_its_jobs(jobs: Directory) -> None:
    """What a full disk leaves is refused; a new empty file, and `jobs: {}`, are what they say."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    (jobs.path / "a.yaml").write_text("")
    (jobs.path / "b.yaml").write_text("")
    assert (["b.yaml: "], ["a.yaml"]) == (jobs.scan(), list(jobs.problems()))
    (jobs.path / "a.yaml").write_text("jobs: {}")
    assert (["a.yaml: "], {}) == (jobs.scan(), jobs.problems())


@NEEDS_ROOT
def test_the_shipped_unit_knows_writers(tmp_path: Path) -> None:
    """Its only capability is CAP_KILL, and the kernel gives a lease to a file's owner without any: so root's daemon
    knows at its start that a file of root's is being written, whatever was told before.
    """
    look = (
        "import os, sys; from jobqueued.jobdir.trust import has_writer\n"
        "with open(sys.argv[1], 'w') as file: print(has_writer(os.open(sys.argv[1], os.O_RDONLY)))\n"
        "print(has_writer(os.open(sys.argv[1], os.O_RDONLY)))"
    )
    bound = ["setpriv", "--bounding-set=-all,+kill", "--inh-caps=-all"]
    command = [*bound, sys.executable, "-c", look, str(tmp_path / "a.yaml")]
    told = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert "True\nFalse\n" == told.stdout


def test_a_slow_writer_after_a_deletion_removes_nothing(jobs: Directory) -> None:
    """Delete, create, and write only a while later: until the writer closes it, the file is what it was."""
    jobs.write("a.yaml", "a")
    jobs.scan(0)
    (jobs.path / "a.yaml").unlink()
    with open(jobs.path / "a.yaml", "w") as file:
        assert [] == jobs.scan(0)
        assert [] == jobs.scan(2 * LONGEST_WAIT)
        file.write("jobs: {b: {command: x}}")
        file.flush()
        assert ([], {}) == (jobs.scan(3 * LONGEST_WAIT), jobs.changes())
    assert (["a.yaml: b"], None) == (jobs.scan(3 * LONGEST_WAIT), jobs.watch.deadline)


def test_a_file_in_writing_at_the_start_can_vanish(jobs: Directory) -> None:
    """What was recalled for it goes with it."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    with open(jobs.path / "a.yaml", "a") as file:
        file.write("#")
        file.flush()
        later = again(jobs)
        assert ["a.yaml: a"] == later.scan(0)
        (jobs.path / "a.yaml").unlink()
    later.scan(0)
    assert ["a.yaml gone"] == later.scan(LONGEST_WAIT)
    later.watch.inbox.close()


def test_a_directory_that_comes_late_has_its_good_texts(jobs: Directory, tmp_path: Path) -> None:
    """A start without the directory (a mount that is late) runs what was accepted last, and forgets nothing."""
    for name in ("a", "b"):
        jobs.write(f"{name}.yaml", name)
    jobs.scan()
    os.rename(jobs.path, tmp_path / "away")
    later = again(jobs)
    assert (["a.yaml: a", "b.yaml: b"], {}, missing(jobs.path)) == (later.scan(), later.accepted, later.problems())
    assert ([], False) == (later.scan(2 * LONGEST_WAIT), later.watch.complete)
    (tmp_path / "away" / "a.yaml").write_text("jobs: [")
    (tmp_path / "away" / "b.yaml").unlink()
    os.rename(tmp_path / "away", jobs.path)
    assert (["a.yaml"], ["a"]) == (later.scan(0) or list(later.problems()), in_force(later, "a.yaml"))
    assert (["b.yaml gone"], True) == (later.scan(LONGEST_WAIT), later.watch.complete)
    later.watch.inbox.close()


def test_a_storm_ends_in_what_is_there(jobs: Directory) -> None:
    """Files written, replaced and removed as fast as another process can are told as they are in the end."""
    storm = f"""
import os, random
random.seed(7)
os.chdir({str(jobs.path)!r})
for turn in range(3000):
    name = f"{{random.randrange(40)}}.yaml"
    match random.randrange(4):
        case 0:
            with open(name, "w") as file:
                file.write(f"jobs: {{{{j{{turn}}: {{{{command: x}}}}}}}}")
        case 1:
            with open("tmp", "w") as file:
                file.write(f"jobs: {{{{j{{turn}}: {{{{command: x}}}}}}}}")
            os.rename("tmp", name)
        case 2:
            with open(name, "w") as file:
                file.write("jobs: [")
        case 3:
            if os.path.exists(name): os.unlink(name)
"""
    writer = subprocess.Popen([sys.executable, "-c", storm])
    there: dict[str, set[str]] = {}
    while writer.poll() is None:
        _listen(jobs, 0, there)
    assert 0 == writer.returncode
    _listen(jobs, 0, there)
    _listen(jobs, LONGEST_WAIT, there)
    good = {path.name for path in jobs.path.glob("*.yaml")} - jobs.problems().keys()
    assert good
    for name in good:
        assert there[name] == {job.id for job in read_jobs((jobs.path / name).read_bytes(), name)[0]}
    assert there.keys() <= {path.name for path in jobs.path.glob("*.yaml")}


# ── mounts ──

MOUNTS = """
import os, select, subprocess, sys
from pathlib import Path
from tests.support.directory import Directory

def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)

def told(seconds=10):
    assert poll.poll(seconds * 1000), "no word of the mount"
    jobs.watch.inbox.remounted()
    return jobs.scan(0), sorted(jobs.problems())

root = Path(sys.argv[1])
mount("--make-rprivate", "/")
for name in ("jobqueue.d", "other", "elsewhere"):
    (root / name).mkdir()
(root / "jobqueue.d" / "a.yaml").write_text("jobs: {a: {command: x}}")
(root / "other" / "b.yaml").write_text("jobs: {b: {command: x}}")
(root / "b").write_text("jobs: {c: {command: x}}")
jobs = Directory(root / "jobqueue.d")
poll = select.poll()
poll.register(jobs.watch.inbox.mounts, select.POLLPRI)
print(jobs.scan(0))
mount("--bind", root / "other", root / "jobqueue.d")
print(told())
(root / "jobqueue.d" / "d.yaml").write_text("jobs: {d: {command: x}}")
print(jobs.scan(0))
mount("--bind", root / "b", root / "jobqueue.d" / "b.yaml")
print(told())
mount("--bind", root / "other", root / "elsewhere")
assert poll.poll(10000)
jobs.watch.inbox.remounted()
jobs.read.clear()
print(jobs.scan(0), jobs.read)
subprocess.run(["umount", root / "jobqueue.d" / "b.yaml"], check=True)
subprocess.run(["umount", root / "jobqueue.d"], check=True)
print(told())
(root / "jobqueue.d" / "e.yaml").write_text("jobs: {e: {command: x}}")
print(jobs.scan(0))
"""


@NEEDS_ROOT
def test_a_mount_over_the_directory_is_seen(tmp_path: Path) -> None:
    """What is mounted over the directory, or over a file in it, is read at once; a mount elsewhere changes nothing."""
    command = ["unshare", "-m", sys.executable, "-c", MOUNTS, str(tmp_path)]
    found = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert ("", 0) == (found.stderr, found.returncode)
    assert [
        "['a.yaml: a']",
        "(['b.yaml: b'], [])",
        "['d.yaml: d']",
        "(['b.yaml: c'], [])",
        "[] []",
        "(['a.yaml: a'], [])",
        "['e.yaml: e']",
    ] == found.stdout.splitlines()


NAMES = {
    "a.yaml": True, "a.yml": True, "A b.yaml": True, "é.yaml": True, "a.yaml~": False, ".a.yaml": False,
    "a.yaml.swp": False, ".#a.yaml": False, "a.yaml.dpkg-old": False, "a.yaml.rpmsave": False, "a.json": False,
    "yaml": False, "a.YAML": False, "a\n.yaml": False, "\udcff.yaml": False, "a\x1b[2J.yaml": False,
}  # fmt: skip


@pytest.mark.parametrize(("name", "accepted"), NAMES.items(), ids=map(ascii, NAMES))
def test_names_are_chosen(name: str, accepted: bool, jobs: Directory) -> None:
    """Only ``*.yaml`` and ``*.yml`` are read, and nothing that a tool left behind or a terminal could not show."""
    assert accepted == is_job_file(name)
    jobs.write(name, "a")
    assert ([Path(name).name] if accepted else []) == (jobs.scan(), jobs.read)[1]
    meant = not accepted and name.lower().endswith((".yaml", ".yml")) and name[0] != "."
    assert ([ascii(name)[1:-1]] if meant else []) == list(jobs.changes())


def test_names_that_are_told_of(jobs: Directory) -> None:
    """A listing tells of files that are not read, some of them, but of no leftovers and no directories.

    While the daemon watches, a file that is there for a moment, as editors have, is not told of.
    """
    (jobs.path / "archive").mkdir()
    for name in ("backup", "b.yaml.txt", "README.md", "notes.txt", "a.yaml.dpkg-dist", "a.yaml.disabled", "#b.yaml#"):
        (jobs.path / name).write_text("jobs: {}")
    jobs.watch.inbox.relist()
    assert ([], {"backup", "b.yaml.txt"}) == (jobs.scan(), set(jobs.changes()))
    (jobs.path / "4913").write_text("")
    assert ([], {}) == (jobs.scan(), jobs.changes())
    (jobs.path / "4913").unlink()
    for number in range(50):
        (jobs.path / f"c{number}").write_text("")
    jobs.watch.inbox.relist()
    assert ([], MOST_UNREAD - 2) == (jobs.scan(), len(jobs.changes()))


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


SPECIAL: dict[str, Callable[[Path], None]] = {
    "symbolic link": lambda path: path.symlink_to("/etc/hostname"),
    "FIFO": os.mkfifo,
    "directory": os.mkdir,
    "socket": _socket,
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_only_regular_files_are_read(kind: str, jobs: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else has a job file's name is refused at once, without waiting or following."""
    monkeypatch.chdir(jobs.path)
    SPECIAL[kind](Path("a.yaml"))
    jobs.write("b.yaml", "b")
    assert ["b.yaml: b"] == jobs.scan()
    assert {"a.yaml": [f"found a {kind}; expected a regular file"]} == jobs.problems()


def test_a_file_with_two_names_is_refused(jobs: Directory) -> None:
    """A hard link could be anybody's way to a file of root's."""
    jobs.write("a.yaml", "a")
    os.link(jobs.path / "a.yaml", jobs.path / "b.txt")
    assert ([], {"a.yaml": ["found 2 hard links to this file; expected a file with one name"]}) == (
        jobs.scan(),
        jobs.problems(),
    )


def test_permissions_are_judged_when_they_change(jobs: Directory) -> None:
    """chmod alone refuses a file, and mends it."""
    jobs.write("a.yaml", "a")
    jobs.scan()
    os.chmod(jobs.path / "a.yaml", 0o666)
    reason = "found a file that all users may write; expected one that only root can write: chmod go-w"
    assert ([], {"a.yaml": [believing(f"{reason} {jobs.path}/a.yaml")]}) == (jobs.scan(), jobs.problems())
    os.chmod(jobs.path / "a.yaml", 0o644)
    assert (["a.yaml: a"], {}) == (jobs.scan(), jobs.problems())


def test_no_more_is_read_than_a_file_may_have(jobs: Directory) -> None:
    """A huge file costs a megabyte of memory, not its size."""
    with open(jobs.path / "a.yaml", "wb") as file:
        file.truncate(1 << 34)
    assert (1 << 20) + 1 == len(read_trusted(str(jobs.path / "a.yaml"), os.geteuid()))
    assert ([], {"a.yaml": ["found more than 1 MiB; expected a file of at most 1 MiB"]}) == (
        jobs.scan(),
        jobs.problems(),
    )


STEPS = st.tuples(
    st.sampled_from(["write", "delete", "move", "relist", "wait"]),
    st.sampled_from("abc"),
    st.sampled_from(["x", "y", "xy", "yz", "", "!"]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(STEPS, max_size=12))
def test_what_was_told_is_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    """After any changes a listener has each good file's jobs, no id twice, and nothing of a file that is gone."""
    directory = Directory(tmp_path_factory.mktemp("d"))
    told: dict[str, set[str]] = {}
    mono = 0
    for action, name, ids in steps:
        path = directory.path / f"{name}.yaml"
        match action:
            case "write" if ids == "!":
                path.write_text("5")
            case "write":
                directory.write(path.name, *ids)
            case "delete":
                path.unlink(missing_ok=True)
            case "move" if path.exists():
                os.rename(path, directory.path / "d.yaml")
            case "relist":
                directory.watch.inbox.relist()
            case "wait":
                mono += LONGEST_WAIT
        _listen(directory, mono, told)
    _listen(directory, mono + LONGEST_WAIT, told)
    held = [job for ids in told.values() for job in ids]
    assert len(held) == len(set(held))
    for path in directory.path.iterdir():
        found, problems = read_jobs(path.read_bytes(), str(path))
        if path.name not in directory.problems():
            assert ({job.id for job in found}, []) == (told[path.name], problems)
    assert told.keys() <= {path.name for path in directory.path.iterdir()}
    directory.watch.inbox.close()


def _listen(directory: Directory, mono: int, told: dict[str, set[str]]) -> None:
    """What the scheduler's catalogue does with the events: a job that another file has moves."""
    for event in directory.scan(mono):
        name, _, ids = event.partition(": ")
        if event.endswith(" gone"):
            told.pop(event.removesuffix(" gone"), None)
            continue
        for others in told.values():
            others -= set(ids.split())
        told[name] = set(ids.split())
