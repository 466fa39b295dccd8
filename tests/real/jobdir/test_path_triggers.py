"""Files that appear: once they are complete, however they come, and where their directory comes after them."""

from __future__ import annotations

import errno
import os
import select
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobqueued.child.watcher import appearing, inotify, listing
from jobqueued.child.watcher.appearing import BURST, EVERY, PAUSE, READ, RESCAN, REST
from jobqueued.child.watcher.listing import SLICE, FileListing
from jobqueued.daemon.loop import read_clocks
from jobqueued.jobdir import path_triggers
from jobqueued.jobdir.path_triggers import PathTriggers
from jobqueued.model.events import PathAppeared
from tests.support.host import wait_for


class Waiting:
    """Somebody who waits for files that match; `later` is by how much (ns) it is later for them than it is."""

    def __init__(self, *paths: Path | str) -> None:
        self.triggers, self.later = PathTriggers(), 0
        self.triggers.want(map(str, paths))

    def turn(self) -> list[PathAppeared]:
        """What one turn of the loop tells, which does not sleep."""
        now = read_clocks()
        now = now._replace(mono=now.mono + self.later)
        found = list[PathAppeared]()
        for descriptor in select.select(list(self.triggers.descriptors()), [], [], 0)[0]:
            found += self.triggers.ready(descriptor, now)
        deadline = self.triggers.deadline
        if self.triggers.has_more or (deadline is not None and deadline <= now.mono):
            found += self.triggers.turn(now)
        return found

    def appeared(self) -> list[PathAppeared]:
        """What has appeared since the last look."""
        found = self.turn()
        while self.triggers.has_more or select.select(list(self.triggers.descriptors()), [], [], 0)[0]:
            found += self.turn()
        return found

    def told(self) -> list[str]:
        """The paths that have appeared since the last look."""
        return [event.path for event in self.appeared()]

    def wait(self) -> list[str]:
        """The next that appear; nothing but inotify and the deadline wakes us."""
        told = list[str]()
        wait_for(lambda: told.extend(self.told()) or told, why="a path that has appeared")
        return told


def moved_in(path: Path) -> None:
    beside = path.parent.parent / "beside"
    beside.write_text("all of it")
    beside.rename(path)


def linked(path: Path) -> None:
    beside = path.parent.parent / "beside"
    beside.write_text("all of it")
    path.hardlink_to(beside)


@pytest.mark.parametrize(
    "come",
    [
        lambda path: path.write_text("all of it"), lambda path: path.touch(), moved_in, linked,
        lambda path: path.symlink_to("elsewhere"), lambda path: path.mkdir(), os.mkfifo,
    ],
    ids=["written", "touched", "moved", "linked", "symlink", "directory", "fifo"],
)  # fmt: skip
def test_however_it_comes(tmp_path: Path, come: Callable[[Path], object]) -> None:
    """It is told once, and with the pattern that the job has."""
    (tmp_path / "in").mkdir()
    waiting = Waiting(tmp_path / "in" / "*.csv")
    come(tmp_path / "in" / "a.csv")
    assert waiting.wait() == [f"{tmp_path}/in/*.csv"]
    assert waiting.told() == []


def test_one_directory_by_two_ways(tmp_path: Path) -> None:
    """The kernel has one watch for it; each way is told of."""
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    waiting = Waiting(tmp_path / "in" / "*.csv", tmp_path / "link" / "a.*")
    (tmp_path / "in" / "a.csv").touch()
    assert [f"{tmp_path}/in/*.csv", f"{tmp_path}/link/a.*"] == sorted(waiting.wait())
    waiting.triggers.want([f"{tmp_path}/link/b"])
    (tmp_path / "in" / "b").touch()
    assert [f"{tmp_path}/link/b"] == waiting.wait()


def test_a_directory_that_is_also_on_the_way(tmp_path: Path) -> None:
    """What is waited for below it is found once its directory is there."""
    waiting = Waiting(tmp_path / "*.csv", tmp_path / "in" / "*.csv")
    assert [] == waiting.told()
    (tmp_path / "in").mkdir()
    assert [] == waiting.told()
    (tmp_path / "in" / "a.csv").touch()
    assert [f"{tmp_path}/in/*.csv"] == waiting.wait()


def test_not_before_it_is_closed(tmp_path: Path) -> None:
    """A file that is being written is no file yet."""
    waiting = Waiting(tmp_path / "a")
    with open(tmp_path / "a", "w") as file:
        file.write("half of ")
        file.flush()
        assert waiting.told() == []
        file.write("it")
    assert waiting.wait() == [f"{tmp_path}/a"]


def test_what_does_not_match(tmp_path: Path) -> None:
    """Other names, and what goes."""
    (tmp_path / "a.csv").touch()
    waiting = Waiting(tmp_path / "?.csv")
    (tmp_path / "bb.csv").touch()
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.csv").unlink()
    assert waiting.told() == []


def test_many_at_once_are_one(tmp_path: Path) -> None:
    """Two jobs that wait are told once each."""
    waiting = Waiting(tmp_path / "*", tmp_path / "b*")
    for name in ("a", "b", "bb"):
        (tmp_path / name).touch()
    assert waiting.wait() == [f"{tmp_path}/*", f"{tmp_path}/b*"]


def test_a_directory_that_comes_later(tmp_path: Path) -> None:
    """Whatever is above it appears bit by bit, goes, and comes again; what came with it is seen."""
    waiting = Waiting(tmp_path / "x" / "y" / "in" / "a")
    for _ in range(2):
        (tmp_path / "x").mkdir()
        assert waiting.told() == []
        (tmp_path / "x" / "y").mkdir()
        (tmp_path / "x" / "y" / "in").mkdir()
        (tmp_path / "x" / "y" / "in" / "a").touch()
        assert waiting.wait() == [f"{tmp_path}/x/y/in/a"]
        shutil.rmtree(tmp_path / "x")
        assert waiting.told() == []


def test_a_directory_that_is_moved_in(tmp_path: Path) -> None:
    """With its files in it."""
    (tmp_path / "there").mkdir()
    waiting = Waiting(tmp_path / "in" / "a")
    (tmp_path / "there" / "a").touch()
    (tmp_path / "there").rename(tmp_path / "in")
    assert waiting.wait() == [f"{tmp_path}/in/a"]


def test_what_is_there_at_the_start(tmp_path: Path) -> None:
    """It is told with the time at which it appeared: who was told of it before knows it by that."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).touch()
    waiting = Waiting(tmp_path / "*.csv", tmp_path / "none")
    newest = max((tmp_path / name).stat().st_ctime_ns for name in ("a.csv", "b.csv"))
    waiting.triggers.begin()
    assert [(event.path, event.instant) for event in waiting.appeared()] == [(f"{tmp_path}/*.csv", newest)]


def test_what_comes_while_it_is_looked_at_the_start(tmp_path: Path) -> None:
    """It is there by the look, and the kernel tells of it, too: that is once."""
    waiting = Waiting(tmp_path / "x")
    waiting.triggers.begin()
    (tmp_path / "x").touch()
    assert [f"{tmp_path}/x"] == [event.path for event in waiting.triggers.turn(read_clocks())]
    assert [] == waiting.told()


def test_nobody_waits_any_more(tmp_path: Path) -> None:
    """Another file of jobs, other paths."""
    waiting = Waiting(tmp_path / "a")
    waiting.triggers.want([f"{tmp_path}/b"])
    (tmp_path / "a").touch()
    assert waiting.told() == []
    (tmp_path / "b").touch()
    assert waiting.wait() == [f"{tmp_path}/b"]


def test_what_was_a_file(tmp_path: Path) -> None:
    """Where the directory should be is a file: the directory is waited for."""
    (tmp_path / "in").touch()
    waiting = Waiting(tmp_path / "in" / "a")
    (tmp_path / "in").unlink()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").touch()
    assert waiting.wait() == [f"{tmp_path}/in/a"]


def test_what_comes_with_its_directory_may_not_be_complete(tmp_path: Path) -> None:
    """It is told once its writer has closed it, and so it is at the start."""
    waiting = Waiting(tmp_path / "in" / "a")
    (tmp_path / "in").mkdir()
    with open(tmp_path / "in" / "a", "w") as file:
        assert waiting.told() == []
        waiting.triggers.begin()
        assert waiting.told() == []
        file.write("all of it")
    assert waiting.wait() == [f"{tmp_path}/in/a"]
    assert waiting.told() == []


def test_what_was_there_before_is_not_told_again(tmp_path: Path) -> None:
    """Another directory that comes and goes beside it changes nothing."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").touch()
    waiting = Waiting(tmp_path / "in" / "a", tmp_path / "other" / "b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b").touch()
    assert waiting.wait() == [f"{tmp_path}/other/b"]
    shutil.rmtree(tmp_path / "other")
    assert waiting.told() == []


def a_later_time_stamp(directory: Path) -> bool:
    """Whether the clock that files are stamped with has ticked since `old`; a single stamp may be finer."""
    return time.clock_gettime_ns(appearing._CLOCK_REALTIME_COARSE) > (directory / "in" / "old").stat().st_ctime_ns


def test_lost_events(tmp_path: Path) -> None:
    """More than the kernel keeps (fs.inotify.max_queued_events): what has come meanwhile is looked for."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "old").touch()
    waiting = Waiting(tmp_path / "in" / "last", tmp_path / "in" / "old")
    waiting.told()
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    wait_for(lambda: a_later_time_stamp(tmp_path), why="a tick later than `old`")
    (tmp_path / "in" / "0").touch()
    waiting.told()
    for number in range(most // 2 + 1):  # each is created, and closed
        (tmp_path / "in" / str(number)).touch()
    (tmp_path / "in" / "last").touch()
    assert waiting.wait() == [f"{tmp_path}/in/last"]


@pytest.mark.parametrize("call", ["instance", "watch"])
def test_without_inotify_it_is_looked_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Where the kernel has no instance or watch left, that is said; what appears is found, and told once."""

    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(inotify, call, none_left)
        waiting = Waiting(tmp_path / "*.csv")
        advice = "so it is checked once a minute: raise fs.inotify.max_user_instances"
        assert [f"cannot watch {tmp_path}, {advice}"] == waiting.triggers.troubles
        (tmp_path / "a.csv").touch()
        assert [] == _looked(waiting, 0)
        assert [str(tmp_path / "*.csv")] == _looked(waiting, 2 * RESCAN)
    (tmp_path / "b.csv").touch()
    assert [str(tmp_path / "*.csv")] == _looked(waiting, 2 * RESCAN)
    assert ([], None) == (waiting.triggers.troubles, waiting.triggers.deadline)
    (tmp_path / "c.csv").touch()
    assert [str(tmp_path / "*.csv")] == waiting.wait()


def test_a_directory_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no reason to watch one above it, where nobody hears of its becoming readable: it is looked at meanwhile."""
    waiting_for, real = tmp_path / "in" / "x", inotify.watch

    def refuse(descriptor: int, path: str, mask: int) -> int:
        if path.startswith(f"{tmp_path}/in"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return real(descriptor, path, mask)

    (tmp_path / "in").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(inotify, "watch", refuse)
        waiting = Waiting(waiting_for)
        told = "so it is checked once a minute: Permission denied"
        assert [f"cannot watch {tmp_path}/in, {told}"] == waiting.triggers.troubles
    waiting_for.touch()
    assert ([], [str(waiting_for)]) == (_looked(waiting, 0), _looked(waiting, 2 * RESCAN))
    waiting_for.write_text("again")
    assert ([str(waiting_for)], []) == (waiting.wait(), waiting.triggers.troubles)


def _looked(waiting: Waiting, later: int) -> list[str]:
    """What a look some time later tells."""
    waiting.later = later
    return waiting.told()


class Storm:
    """Somebody who writes files faster than they are looked at: before each turn more than one read takes."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.listed = self.read = 0
        self._events = inotify.events
        self._files = [directory / f"{number}.tmp" for number in range(3 * SLICE)]
        monkeypatch.setattr(inotify, "events", self._counted)
        monkeypatch.setattr(FileListing, "_look", self._looks(FileListing._look))

    def _counted(self, descriptor: int, most: int) -> list[inotify.InotifyEvent]:
        found = list(self._events(descriptor, most))
        self.read += len(found)
        return found

    def _looks(self, look: Callable[[FileListing, os.DirEntry[str]], None]) -> Callable[..., None]:
        def looked(listing: FileListing, entry: os.DirEntry[str]) -> None:
            self.listed += 1
            look(listing, entry)

        return looked

    def blow(self) -> None:
        """All the files again."""
        for file in self._files:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT))


def test_a_storm_costs_a_turn_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write where a job waits can fill the queue of events faster than it is read, again and again; a turn
    reads once, and looks at 200 names at most.
    """
    waiting = Waiting(tmp_path / "*.csv")
    storm = Storm(tmp_path, monkeypatch)
    for _ in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) // (3 * SLICE) + 1):
        storm.blow()
    for _ in range(100):
        storm.blow()
        before = storm.read, storm.listed
        assert waiting.turn() == []
        assert storm.read - before[0] <= READ // 16
        assert storm.listed - before[1] <= SLICE
        waiting.later += REST
    assert (3 * SLICE, True) == (storm.listed, storm.read > 20_000)


def test_a_storm_is_not_listed_again_at_once(tmp_path: Path) -> None:
    """Events that are lost again and again make one look in five seconds, and what has come is told all the same."""
    for number in range(2 * SLICE):
        (tmp_path / f"{number}.tmp").touch()
    waiting = Waiting(tmp_path / "a.csv")
    waiting.told()
    lose_events(waiting)
    waiting.told()
    (tmp_path / "a.csv").touch()
    lose_events(waiting)
    assert [] == waiting.told()
    waiting.later += PAUSE
    assert [f"{tmp_path}/a.csv"] == waiting.told()


def lose_events(waiting: Waiting) -> None:
    """As if the kernel's queue had been too short for those that there are."""
    descriptor = waiting.triggers.descriptors()
    with pytest.MonkeyPatch.context() as patch:
        lost = [inotify.InotifyEvent(-1, inotify.IN_Q_OVERFLOW, "")]
        events = inotify.events
        patch.setattr(inotify, "events", lambda number, _most: [list(events(number)), lost][1])
        for number in descriptor:
            waiting.triggers.ready(number, read_clocks())


def test_more_files_than_anybody_looks_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is filled without an end ends a look, and that is said until a look comes to its end."""
    monkeypatch.setattr(listing, "MOST", 2 * SLICE)
    monkeypatch.setattr(appearing, "MOST", 2 * SLICE)
    monkeypatch.setattr(path_triggers, "MOST", 2 * SLICE)
    for number in range(3 * SLICE):
        (tmp_path / f"{number}.tmp").touch()
    waiting = Waiting(tmp_path / "a.csv")
    waiting.triggers.begin()
    assert [] == waiting.told()
    assert waiting.triggers.troubles[0].startswith(f"{tmp_path} has more than {2 * SLICE} files, so events were lost")
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    waiting.later += PAUSE
    waiting.told()
    assert [] == waiting.triggers.troubles


def test_a_path_is_told_ten_times_then_once_a_second(tmp_path: Path) -> None:
    """Whoever makes a file again and again makes no job due oftener than that; the last file is not forgotten."""
    waiting = Waiting(tmp_path / "*.csv", tmp_path / "other")
    told = list[str]()
    for number in range(30):
        (tmp_path / f"{number}.csv").touch()
        told += waiting.told()
    assert [f"{tmp_path}/*.csv"] * BURST == told
    (tmp_path / "other").touch()
    assert [f"{tmp_path}/other"] == waiting.told()
    waiting.later += EVERY
    assert [f"{tmp_path}/*.csv"] == waiting.told()
    waiting.later += EVERY
    assert ([], None) == (waiting.told(), waiting.triggers.deadline)
