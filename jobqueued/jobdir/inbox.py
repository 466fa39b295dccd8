"""The job directory as inotify(7), the table of mounts and listings tell of it: names of files that need to be read.

A directory that is missing, or can't be read, says nothing about its files: only an empty one says that all are gone.
A file is read when its writer has closed it, never while it is being written: half a command is a command too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jobqueued.child.trust import Refused, check_path, quoted
from jobqueued.child.tuples import NamedTuple
from jobqueued.child.watcher import inotify
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
_SELF = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF
UNWATCHED = _SELF | inotify.IN_IGNORED | inotify.IN_UNMOUNT
_ENTRIES = inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_ATTRIB
CHANGES_IN_DIRECTORY = _ENTRIES | inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_FROM | inotify.IN_DELETE | inotify.IN_MODIFY

Signature = tuple["int | Signature", ...]
_UNREAD: Signature = (0,)
"""That of no file."""


class News(NamedTuple):
    """Names of job files that came, went or changed, and paths of files that are not read but were meant to be.

    `trouble` is what is wrong with the directory itself; None: nobody looked.
    """

    names: set[str]
    unread: set[str]
    trouble: list[Problem] | None = None


class Ears:
    """The kernel's words: an inotify instance, which inboxes may share, and the table of mounts."""

    def __init__(self, *, heard: bool = True) -> None:
        self.inotify: int | None = None
        self.mounts = _opened(_MOUNTS) if heard else None
        """A descriptor on which poll(2) tells POLLPRI when something was mounted or unmounted; None: there is none."""

    def open(self) -> None:
        """Have an inotify instance, if there is none yet; OSError."""
        if self.inotify is None:
            self.inotify = inotify.instance()

    def close(self) -> None:
        """Hear no more."""
        for descriptor in (self.inotify, self.mounts):
            if descriptor is not None:
                os.close(descriptor)

    def events(self) -> Iterable[inotify.Event]:
        """The events by now."""
        return [] if self.inotify is None else inotify.events(self.inotify)


class Inbox:
    """One directory, which need not exist.  `drain` if `fileno` is readable, `remounted` if `mounts` has POLLPRI."""

    def __init__(self, directory: Path, kind: Kind = JOB_FILES, ears: Ears | None = None) -> None:
        self._kind, self._is_optional = kind, kind.optional
        self._ears = Ears(heard=kind.heard) if ears is None else ears
        self.at = str(directory)
        """The path of what was read last."""
        self.has_news, self.was_listed, self.is_unreadable = True, False, False
        self._directory, self._where = directory, {*directory.parts, ""}
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
        self._mounted = self._mounts_here(mount_table())
        self._arm()

    def fileno(self) -> int | None:
        """The inotify descriptor; None: there is none to be had."""
        return self._ears.inotify

    @property
    def mounts(self) -> int | None:
        """A descriptor on which poll(2) tells POLLPRI when something was mounted or unmounted; None: no /proc."""
        return self._ears.mounts

    def close(self) -> None:
        """Stop watching."""
        self._ears.close()

    def drain(self) -> None:
        """Take in what inotify tells by now."""
        for event in self._ears.events():
            self.hear(event)

    def hear(self, event: inotify.Event) -> None:
        """Take in one thing that inotify tells."""
        if event.mask & inotify.IN_Q_OVERFLOW:
            self.relist()
        elif event.watch == self._watch:
            self._note(event.name, event.mask)
        elif event.watch == self._parent and (event.mask & UNWATCHED or event.name in self._where):
            self.relist()
        else:
            self._hear_else(event)

    def remounted(self, table: Sequence[Mount] | None = None) -> None:
        """List anew if a mount touches the directory, a file in it, or what it is in."""
        before, self._mounted = self._mounted, self._mounts_here(mount_table() if table is None else table)
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
        """Take all files for changed ones."""
        self._seen = dict.fromkeys(self._seen, _UNREAD)
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
        unread = {f"{self._directory}/{name}" for name in self._unread}
        self._touched, self._unread = set(), set()
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
        self.at = f"{self._directory}/{name}"
        return self._kind.read(self.at, os.geteuid(), closed)

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
            if self._kind.is_meant(name) and mask & (inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO):
                self._unread.add(name)
                self.has_news = True
        else:
            self._take_in(name, mask, name)

    def _hear_else(self, event: inotify.Event) -> None:
        """Take in what is told of another directory."""

    def _take_in(self, path: str, mask: int, name: str) -> None:
        """Take in what is told of a path, which changes the file of this name."""
        if mask & inotify.IN_MODIFY:
            self._in_writing.add(path)
            self._closed.discard(path)
        else:
            if mask & inotify.IN_CLOSE_WRITE:
                self._closed.add(path)
            self.touch(name)
            if not mask & inotify.IN_ATTRIB:
                self._in_writing.discard(path)

    def _arm(self) -> None:
        """Watch the directory and, to see it come back, its nearest parent that exists."""
        if not self._kind.heard:
            return
        try:
            self._ears.open()
        except OSError as error:
            self._watch = self._parent = 0
            self._unwatched = remedy(error)
            return
        before = {self._watch, self._parent}
        nearest = None
        while nearest != (nearest := next(path for path in self._directory.parents if os.path.isdir(path))):
            self._parent = self._add(nearest, _ENTRIES | _SELF)
        self._watch = self._add(self._directory, CHANGES_IN_DIRECTORY | _SELF | inotify.IN_ONLYDIR)
        for number in before - {0, self._watch, self._parent}:
            with contextlib.suppress(OSError):  # gone with what it watched
                self._unwatch(number)

    def _unwatch(self, number: int) -> None:
        assert self._ears.inotify is not None
        inotify.unwatch(self._ears.inotify, number)

    def _add(self, path: Path, mask: int) -> int:
        assert self._ears.inotify is not None
        try:
            return inotify.watch(self._ears.inotify, str(path), mask | inotify.IN_MASK_ADD)
        except OSError as error:
            self._unwatched = remedy(error)
            return 0

    def _mounts_here(self, table: Sequence[Mount]) -> list[bytes]:
        """Mounts on the directory, in it, or on what it is in; no two have the same line."""
        directory = os.fsencode(os.path.realpath(self._directory))
        return [line for line, point in table if _inside(point, directory) or _inside(directory, point)]

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
            if is_missing and self._is_optional:
                return self._missing(), self._listed_well(self._parent, mono)
            self.is_unreadable = True
            if not (is_missing and self._parent):
                self._take_again(mono + AGAIN)
            none = f"; put it back, or, to have none: mkdir {quoted(directory)}" if is_missing else ""
            cause = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            code = "JQ501" if isinstance(error, OSError) else "JQ502"
            return set(), [Problem(directory, 0, 0, "", f"{cause}; the jobs that it had last go on{none}", code=code)]
        known = {*filter(self._kind.reads, names), *self._others(names), *self._seen}
        self._unread |= set(filter(self._kind.is_foreign, names))
        trouble = self._listed_well(self._watch and self._hears_all, mono)
        return {name for name in known if self._seen.get(name) != self.signature(name)}, trouble

    def _listed_well(self, is_watched: object, mono: int) -> list[Problem]:
        """Take note that all is known, for now: without a watch what changes is found by the next look."""
        self.was_listed, self.is_unreadable, self._lost_track = True, False, self._kind.heard and not is_watched
        if not self._lost_track:
            return []
        self._take_again(mono + RESCAN)
        advice = f"cannot be watched: {self._unwatched}; until then it is read once a minute"
        return [Problem(str(self._directory), 0, 0, "", advice, code="JQ501")]

    @property
    def _hears_all(self) -> bool:
        """True if nothing that a listing has found is unwatched."""
        return True

    def _missing(self) -> set[str]:
        """The files of which it is news that the directory, which may be missing, is."""
        return set()

    def _others(self, names: Sequence[str]) -> set[str]:
        """The files that a listing tells of otherwise than by their names."""
        return set()

    def is_gone(self, name: str) -> bool:
        """True if the directory is there and has no such file; False also where the file system can't tell."""
        return self.is_missing_in(name) and os.path.isdir(self._directory)

    def is_missing_in(self, name: str) -> bool:
        """True if the directory has no such file, or is not there; False where the file system can't tell."""
        try:
            os.lstat(f"{self._directory}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            pass
        return False

    def place(self, name: str) -> str:
        """The path of a file."""
        return f"{self._directory}/{name}"

    def orphans(self, name: str) -> list[str]:
        """The directories with something that belongs to a file."""
        return []

    def signature(self, name: str) -> Signature:
        """The signature of a file; where its kind may be a link, of what that leads to as well."""
        path = f"{self._directory}/{name}"
        return signature_of(path) + (signature_of(path, os.stat) if self._kind.follows else ())


Mount = tuple[bytes, bytes]
"""A line of the table of mounts, and the path in it."""


def mount_table() -> list[Mount]:
    """All mounts; none where there is no /proc."""
    try:
        with open(_MOUNTS, "rb") as file:
            lines = file.readlines()
    except OSError:
        return []
    return [(line, _OCTAL.sub(lambda code: bytes([int(code[1], 8)]), line.split(b" ")[4])) for line in lines]


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
