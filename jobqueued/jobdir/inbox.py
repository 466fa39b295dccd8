"""The job directory as inotify(7), the table of mounts and listings tell of it: names of files that need to be read.

A file is read when its writer has closed it, never while it is being written: half a command is a command too.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from jobqueued.host import linux
from jobqueued.jobdir.trust import InWriting, is_job_file, is_meant, read_trusted
from jobqueued.model import SECOND, Problem

RESCAN = 60 * SECOND
"""The least time between two listings for which no event asked."""

_MOUNTS = "/proc/self/mountinfo"
_OCTAL = re.compile(rb"\\([0-7]{3})")
_SELF = linux.IN_DELETE_SELF | linux.IN_MOVE_SELF
_UNWATCHED = _SELF | linux.IN_IGNORED | linux.IN_UNMOUNT
_ENTRIES = linux.IN_CREATE | linux.IN_MOVED_TO | linux.IN_ATTRIB
_IN_DIRECTORY = _ENTRIES | linux.IN_CLOSE_WRITE | linux.IN_MOVED_FROM | linux.IN_DELETE | linux.IN_MODIFY

Signature = tuple[int, ...]


class News(NamedTuple):
    """Names of job files that came, went or changed, and of files that are not read but were meant to be.

    `trouble` is what is wrong with the directory itself; None: nobody looked.
    """

    names: set[str]
    unread: set[str]
    trouble: list[Problem] | None = None


class Inbox:
    """One directory, which need not exist.  `drain` if `fileno` is readable, `remounted` if `mounts` has POLLPRI."""

    def __init__(self, directory: Path) -> None:
        self.mounts = _opened(_MOUNTS)
        """A descriptor on which poll(2) tells POLLPRI when something was mounted or unmounted; None: no /proc."""
        self.has_news, self.was_listed = True, False
        self._directory = directory
        self._inotify = linux.inotify()
        self._seen: dict[str, Signature] = {}
        self._touched: set[str] = set()
        self._in_writing: set[str] = set()
        self._closed: set[str] = set()
        self._unread: set[str] = set()
        self._lost_track, self._is_told = True, True
        self._listed_at = 0
        self._watch = self._parent = 0
        self._mounted = self._mounts_here()
        self._arm()

    def fileno(self) -> int:
        """The inotify descriptor, always the same."""
        return self._inotify

    def close(self) -> None:
        """Stop watching."""
        os.close(self._inotify)
        if self.mounts is not None:
            os.close(self.mounts)

    def drain(self) -> None:
        """Take in what inotify tells by now."""
        for event in linux.inotify_events(self._inotify):
            if event.mask & linux.IN_Q_OVERFLOW:
                self.relist()
            elif event.watch == self._watch:
                self._note(event.name, event.mask)
            elif event.watch == self._parent and (event.mask & _UNWATCHED or event.name in self._directory.parts):
                self.relist()

    def remounted(self) -> None:
        """List anew if a mount touches the directory, a file in it, or what it is in."""
        before, self._mounted = self._mounted, self._mounts_here()
        if before != self._mounted:
            self.relist()

    def relist(self) -> None:
        """List anew: for a reload by hand, as inotify is blind to networks."""
        self._lost_track = self.has_news = True
        self._in_writing.clear()

    def rescan(self, mono: int) -> None:
        """List anew if the last time is a minute ago: for what no event tells, as on a network's file system."""
        if mono >= self._listed_at + RESCAN:
            self.relist()

    def take(self, mono: int) -> News:
        """Take what changed since the last time."""
        self.has_news, self._is_told = False, not self._lost_track
        if self._lost_track:
            self._listed_at = mono
            names, trouble = self._listed()
        else:
            names, trouble = self._touched - self._in_writing, None
        unread, self._touched, self._unread = self._unread, set(), set()
        return News(names, unread, trouble)

    # one file

    def read(self, name: str) -> bytes:
        """Read a file that nobody is writing; InWriting, and what `read_trusted` raises.

        Its close was told, or the kernel knows of no writer.  The kernel tells of a close a moment before it forgets
        the writer, so what was told is not asked again.
        """
        if name in self._in_writing and self._is_told:
            raise InWriting
        closed = name in self._closed
        self._closed.discard(name)
        return read_trusted(str(self._directory / name), os.geteuid(), closed=closed)

    def put_back(self, name: str) -> bool:
        """Keep a file that is being written for later; True if inotify has told of that, and will tell of its close."""
        self._in_writing.add(name)
        self._seen.setdefault(name, ())
        return self._is_told

    def has_read(self, name: str, signature: Signature) -> None:
        """Take note that a file was read, whatever came of it, after it had this signature."""
        self._seen[name] = signature

    def forget(self, name: str) -> bool:
        """Take note that a file is not there; True if it was."""
        return self._seen.pop(name, None) is not None

    # what the kernel tells

    def _note(self, name: str, mask: int) -> None:
        if not name:
            self.relist()
        elif not is_job_file(name):
            if is_meant(name) and mask & (linux.IN_CLOSE_WRITE | linux.IN_MOVED_TO):
                self._unread.add(name)
                self.has_news = True
        elif mask & linux.IN_MODIFY:
            self._in_writing.add(name)
            self._closed.discard(name)
        else:
            if mask & linux.IN_CLOSE_WRITE:
                self._closed.add(name)
            self._touched.add(name)
            self.has_news = True
            if not mask & linux.IN_ATTRIB:
                self._in_writing.discard(name)

    def _arm(self) -> None:
        """Watch the directory and, to see it come back, its nearest parent that exists."""
        before = {self._watch, self._parent}
        nearest = None
        while nearest != (nearest := next(path for path in self._directory.parents if os.path.isdir(path))):
            self._parent = self._add(nearest, _ENTRIES | _SELF)
        self._watch = self._add(self._directory, _IN_DIRECTORY | _SELF | linux.IN_ONLYDIR)
        for number in before - {0, self._watch, self._parent}:
            with contextlib.suppress(OSError):  # gone with what it watched
                linux.unwatch(self._inotify, number)

    def _add(self, path: Path, mask: int) -> int:
        try:
            return linux.watch(self._inotify, str(path), mask)
        except OSError:
            return 0

    def _mounts_here(self) -> list[bytes]:
        """Mounts on the directory, in it, or on what it is in; no two have the same line."""
        try:
            with open(_MOUNTS, "rb") as file:
                lines = file.readlines()
        except OSError:
            return []
        directory = os.fsencode(os.path.realpath(self._directory))
        points = ((line, _OCTAL.sub(lambda code: bytes([int(code[1], 8)]), line.split(b" ")[4])) for line in lines)
        return [line for line, point in points if _inside(point, directory) or _inside(directory, point)]

    def _listed(self) -> tuple[set[str], list[Problem]]:
        """List the directory: what came, went or changed while nobody watched, and what is wrong with it."""
        self._arm()
        directory = str(self._directory)
        try:
            names = os.listdir(directory)
        except OSError as error:
            gone = set(self._seen) if isinstance(error, FileNotFoundError | NotADirectoryError) else set[str]()
            return gone, [Problem(directory, 0, 0, "", f"cannot be read: {error.strerror}")]
        known = {*filter(is_job_file, names), *self._seen}
        self._unread |= set(filter(is_meant, names))
        self.was_listed, self._lost_track = True, not self._watch
        advice = "cannot be watched: raise fs.inotify.max_user_watches; until then a reload reads it"
        trouble = [Problem(directory, 0, 0, "", advice)] if self._lost_track else []
        return {name for name in known if self._seen.get(name) != signature_of(f"{directory}/{name}")}, trouble


def signature_of(path: str) -> Signature:
    """A tuple that is another whenever a file was changed or replaced; () while there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _inside(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
