"""The job directory as inotify(7), the table of mounts and listings tell of it: names of files that need to be read.

A directory that is missing, or can't be read, says nothing about its files: only an empty one says that all are gone.
A file is read when its writer has closed it, never while it is being written: half a command is a command too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jobqueued.child.trust import Refused, check_path, quoted
from jobqueued.host import linux
from jobqueued.jobdir.kinds import JOB_FILES, Kind
from jobqueued.jobdir.trust import InWriting
from jobqueued.model import SECOND
from jobqueued.problem import Problem

RESCAN = 60 * SECOND
"""The least time between two listings for which no event asked."""

AGAIN = 10 * SECOND
"""The time after which it is tried again to read what could not be read."""

_MOUNTS = "/proc/self/mountinfo"
_OCTAL = re.compile(rb"\\([0-7]{3})")
_SELF = linux.IN_DELETE_SELF | linux.IN_MOVE_SELF
_UNWATCHED = _SELF | linux.IN_IGNORED | linux.IN_UNMOUNT
_ENTRIES = linux.IN_CREATE | linux.IN_MOVED_TO | linux.IN_ATTRIB
_IN_DIRECTORY = _ENTRIES | linux.IN_CLOSE_WRITE | linux.IN_MOVED_FROM | linux.IN_DELETE | linux.IN_MODIFY

Signature = tuple[int, ...]
_UNREAD: Signature = (0,)
"""That of no file."""


class News(NamedTuple):
    """Names of job files that came, went or changed, and of files that are not read but were meant to be.

    `trouble` is what is wrong with the directory itself; None: nobody looked.
    """

    names: set[str]
    unread: set[str]
    trouble: list[Problem] | None = None


class Inbox:
    """One directory, which need not exist.  `drain` if `fileno` is readable, `remounted` if `mounts` has POLLPRI."""

    def __init__(self, directory: Path, kind: Kind = JOB_FILES) -> None:
        self._kind = kind
        self.mounts = _opened(_MOUNTS)
        """A descriptor on which poll(2) tells POLLPRI when something was mounted or unmounted; None: no /proc."""
        self.has_news, self.was_listed, self.is_unreadable = True, False, False
        self._directory, self._where = directory, {*directory.parts, ""}
        self._inotify: int | None = None
        self._unwatched = ""
        self._seen: dict[str, Signature] = {}
        self._touched: set[str] = set()
        self._in_writing: set[str] = set()
        self._closed: set[str] = set()
        self._unread: set[str] = set()
        self._lost_track, self._is_told = True, True
        self._listed_at = 0
        self._again: set[str] = set()
        self.deadline: int | None = None
        """The time (CLOCK_MONOTONIC) to `take` again, as something could not be read or watched; None: all can."""
        self._watch = self._parent = 0
        self._mounted = self._mounts_here()
        self._arm()

    def fileno(self) -> int | None:
        """The inotify descriptor; None: there is none to be had."""
        return self._inotify

    def close(self) -> None:
        """Stop watching."""
        for descriptor in (self._inotify, self.mounts):
            if descriptor is not None:
                os.close(descriptor)

    def drain(self) -> None:
        """Take in what inotify tells by now."""
        for event in [] if self._inotify is None else linux.inotify_events(self._inotify):
            if event.mask & linux.IN_Q_OVERFLOW:
                self.relist()
            elif event.watch == self._watch:
                self._note(event.name, event.mask)
            elif event.watch == self._parent and (event.mask & _UNWATCHED or event.name in self._where):
                self.relist()

    def remounted(self) -> None:
        """List anew if a mount touches the directory, a file in it, or what it is in."""
        before, self._mounted = self._mounted, self._mounts_here()
        if before != self._mounted:
            self.relist()

    def touch(self, name: str) -> None:
        """Have a file taken as one that has changed."""
        self._touched.add(name)
        self.has_news = True

    def relist(self) -> None:
        """List anew: for a reload by hand, as inotify is blind to networks."""
        self._lost_track = self.has_news = True
        self._in_writing.clear()

    def forget_all(self) -> None:
        """Take all files for new ones."""
        self._seen.clear()
        self.relist()

    def rescan(self, mono: int) -> None:
        """List anew if the last time is a minute ago: for what no event tells, as on a network's file system."""
        if mono >= self._listed_at + RESCAN:
            self.relist()

    def take(self, mono: int) -> News:
        """Take what changed since the last time."""
        again = set[str]()
        if self.deadline is not None and self.deadline <= mono:
            again, self._again, self.deadline = self._again, set(), None
        if distrust := self._distrust():
            self._lost_track = True
            self._again |= again
            again = set()
        self.has_news, self._is_told = False, not self._lost_track
        if self._lost_track:
            self._listed_at = mono
            names, trouble = self._listed(mono, distrust)
        else:
            names, trouble = self._touched - self._in_writing, None
        unread, self._touched, self._unread = self._unread, set(), set()
        return News(names | again, unread, trouble)

    # one file

    def read(self, name: str) -> bytes:
        """Read a file that nobody is writing; InWriting, and what else its kind raises.

        Its close was told, or the kernel knows of no writer.  The kernel tells of a close a moment before it forgets
        the writer, so what was told is not asked again.
        """
        if name in self._in_writing and self._is_told:
            raise InWriting
        closed = name in self._closed
        self._closed.discard(name)
        return self._kind.read(str(self._directory / name), os.geteuid(), closed)

    def put_back(self, name: str) -> bool:
        """Keep a file that is being written for later; True if inotify has told of that, and will tell of its close."""
        self._in_writing.add(name)
        self.expect(name)
        return self._is_told

    def has_read(self, name: str, signature: Signature) -> None:
        """Take note that a file was read, whatever came of it, after it had this signature."""
        self._seen[name] = signature

    def expect(self, name: str) -> None:
        """Take note that there is a file which was not read: if a listing does not have it, it is gone."""
        self._seen.setdefault(name, _UNREAD)

    def look_again(self, name: str, mono: int) -> None:
        """Have a file that can't be read now taken again later: that says nothing about the file."""
        self._again.add(name)
        self._take_again(mono + AGAIN)

    def _take_again(self, at: int) -> None:
        self.deadline = at if self.deadline is None else min(self.deadline, at)

    def forget(self, name: str) -> bool:
        """Take note that a file is not there; True if it was."""
        return self._seen.pop(name, None) is not None

    # what the kernel tells

    def _note(self, name: str, mask: int) -> None:
        if not name:
            self.relist()
        elif not self._kind.reads(name):
            if self._kind.is_meant(name) and mask & (linux.IN_CLOSE_WRITE | linux.IN_MOVED_TO):
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
        if self._inotify is None:
            try:
                self._inotify = linux.inotify()
            except OSError as error:
                self._watch = self._parent = 0
                self._unwatched = remedy(error)
                return
        before = {self._watch, self._parent}
        nearest = None
        while nearest != (nearest := next(path for path in self._directory.parents if os.path.isdir(path))):
            self._parent = self._add(nearest, _ENTRIES | _SELF)
        self._watch = self._add(self._directory, _IN_DIRECTORY | _SELF | linux.IN_ONLYDIR)
        for number in before - {0, self._watch, self._parent}:
            with contextlib.suppress(OSError):  # gone with what it watched
                linux.unwatch(self._inotify, number)

    def _add(self, path: Path, mask: int) -> int:
        assert self._inotify is not None
        try:
            return linux.watch(self._inotify, str(path), mask)
        except OSError as error:
            self._unwatched = remedy(error)
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

    def _distrust(self) -> Refused | None:
        """The reason why nothing in the directory can be believed: somebody else can change what is there."""
        try:
            check_path(str(self._directory), os.geteuid(), sticky=self._kind.sticky)
        except Refused as distrust:
            return distrust
        except OSError:  # listing it will say the same
            pass
        return None

    def _listed(self, mono: int, distrust: Refused | None) -> tuple[set[str], list[Problem]]:
        """List the directory: what came, went or changed while nobody watched, and what is wrong with it."""
        self._arm()
        directory = str(self._directory)
        try:
            if distrust is not None:
                raise distrust
            names = os.listdir(directory)
        except (OSError, Refused) as error:
            is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            if is_missing and self._kind.optional and self._parent:
                self.was_listed, self._lost_track = True, False
                return set(), []
            self.is_unreadable = True
            if not (is_missing and self._parent):
                self._take_again(mono + AGAIN)
            none = f"; put it back, or, to have none: mkdir {quoted(directory)}" if is_missing else ""
            cause = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            return set(), [Problem(directory, 0, 0, "", f"{cause}; the jobs that it had last go on{none}")]
        known = {*filter(self._kind.reads, names), *self._seen}
        self._unread |= set(filter(self._kind.is_foreign, names))
        self.was_listed, self._lost_track = True, not self._watch
        self.is_unreadable, trouble = False, []
        if self._lost_track:
            self._take_again(mono + RESCAN)
            advice = f"cannot be watched: {self._unwatched}; until then it is read once a minute"
            trouble = [Problem(directory, 0, 0, "", advice)]
        return {name for name in known if self._seen.get(name) != self.signature(name)}, trouble

    def signature(self, name: str) -> Signature:
        """The signature of a file; where its kind may be a link, of what that leads to as well."""
        path = f"{self._directory}/{name}"
        return signature_of(path) + (signature_of(path, os.stat) if self._kind.follows else ())


def signature_of(path: str, look: Callable[[str], os.stat_result] = os.lstat) -> Signature:
    """A tuple that is another whenever a file was changed or replaced; () while there is none."""
    try:
        found = look(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def remedy(error: OSError) -> str:
    """The way to let inotify(7) watch again."""
    limits = {errno.ENOSPC: "fs.inotify.max_user_watches", errno.EMFILE: "fs.inotify.max_user_instances"}
    return f"raise {limits[error.errno]}" if error.errno in limits else str(error.strerror)


def _inside(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
