"""The names of changed files in a job directory, from inotify(7), the mount table and directory listings.

A missing or unreadable directory does not mean that its files were deleted; an empty directory does. A file is read
after its writer closed it, never while it is being written, because half a command may be a valid command.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jobqueued.base.instants import SECOND
from jobqueued.base.problem import Problem
from jobqueued.child.contract.trust import FileRefused, distrust, quoted
from jobqueued.child.watcher import inotify
from jobqueued.jobdir.file_changes import News, Signature
from jobqueued.jobdir.kinds import JOB_FILES, DirectoryKind
from jobqueued.jobdir.trust import InWriting

RESCAN = 60 * SECOND
"""Minimum time (ns) between two listings without an event."""
AGAIN = 10 * SECOND
"""Pause (ns) before a failed read is retried."""

_MOUNTS = "/proc/self/mountinfo"
_OCTAL = re.compile(rb"\\([0-7]{3})")
_SELF = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF
UNWATCHED = _SELF | inotify.IN_IGNORED | inotify.IN_UNMOUNT
_ENTRIES = inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_ATTRIB
CHANGES_IN_DIRECTORY = _ENTRIES | inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_FROM | inotify.IN_DELETE | inotify.IN_MODIFY

_UNREAD: Signature = (0,)
"""A signature that differs from every file's signature."""


class KernelNotices:
    """Sources of the kernel's notices: an inotify instance, which inboxes may share, and the mount table."""

    def __init__(self, *, heard: bool = True) -> None:
        self.inotify: int | None = None
        self.mounts = _opened(_MOUNTS) if heard else None
        """A descriptor on which poll(2) sets POLLPRI after a mount or unmount, or None if mounts are not watched."""

    def open(self) -> None:
        """Create an inotify instance unless one exists. Raises OSError."""
        if self.inotify is None:
            self.inotify = inotify.instance()

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (self.inotify, self.mounts):
            if descriptor is not None:
                os.close(descriptor)

    def events(self) -> Iterable[inotify.InotifyEvent]:
        """Return the pending events."""
        return [] if self.inotify is None else inotify.events(self.inotify)


class Inbox:
    """A directory, maybe missing. Call `drain` if `fileno` is readable, and `remounted` if `mounts` has POLLPRI."""

    def __init__(self, directory: Path, kind: DirectoryKind = JOB_FILES, kernel: KernelNotices | None = None) -> None:
        self._kind, self._is_optional = kind, kind.optional
        self._kernel = KernelNotices(heard=kind.heard) if kernel is None else kernel
        self.at = str(directory)
        """The path that was read last."""
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
        """The time (CLOCK_MONOTONIC, ns) to retry `take` after a failed read or watch, or None if neither failed."""
        self._watch = self._parent = 0
        self._mounted = self._mounts_here(mount_table())
        self._arm()

    def fileno(self) -> int | None:
        """Return the inotify descriptor, or None if inotify is not in use."""
        return self._kernel.inotify

    @property
    def mounts(self) -> int | None:
        """A descriptor on which poll(2) sets POLLPRI after a mount or unmount, or None if /proc is missing."""
        return self._kernel.mounts

    def close(self) -> None:
        """Stop watching."""
        self._kernel.close()

    def drain(self) -> None:
        """Process the pending inotify events."""
        for event in self._kernel.events():
            self.hear(event)

    def hear(self, event: inotify.InotifyEvent) -> None:
        """Process one inotify event."""
        if event.mask & inotify.IN_Q_OVERFLOW:
            self.relist()
        elif event.watch == self._watch:
            self._note(event.name, event.mask)
        elif event.watch == self._parent and (event.mask & UNWATCHED or event.name in self._where):
            self.relist()
        else:
            self._hear_else(event)

    def remounted(self, table: Sequence[Mount] | None = None) -> None:
        """Re-list the directory if a mount changed on the directory, inside it, or on one of its parents."""
        before, self._mounted = self._mounted, self._mounts_here(mount_table() if table is None else table)
        if before != self._mounted:
            self.relist()

    def touch(self, name: str) -> None:
        """Treat a file as changed."""
        self._touched.add(name)
        self.has_news = True

    def relist(self) -> None:
        """Make the next `take` list the directory.

        A reload needs this on network file systems, where inotify reports no changes.
        """
        self._lost_track = self.has_news = True
        self._in_writing.clear()

    def forget_all(self) -> None:
        """Treat all files as changed."""
        self._seen = dict.fromkeys(self._seen, _UNREAD)
        self.relist()

    def rescan(self, mono: int) -> None:
        """Re-list the directory if the last listing is a minute old, because network file systems report no changes."""
        if mono >= self._listed_at + RESCAN:
            self.relist()

    def take(self, mono: int) -> News:
        """Return the changes since the last call."""
        again = set[str]()
        if self.deadline is not None and self.deadline <= mono:
            again, self._again, self.deadline = self._again, set(), None
        refused = distrust(str(self._directory), os.geteuid(), sticky=self._kind.sticky)
        if refused is not None:
            self._lost_track = True
            self._again |= again
            again = set()
        self.has_news, self._is_told = False, not self._lost_track
        if self._lost_track:
            self._listed_at = mono
            names, trouble = self._listed(mono, refused)
        else:
            names, trouble = self._touched - self._in_writing, None
        unread = {f"{self._directory}/{name}" for name in self._unread}
        self._touched, self._unread = set(), set()
        return News(names | again, unread, trouble)

    # one file

    def read(self, name: str) -> bytes:
        """Read a file that no process is writing. Raises InWriting, and the errors of the kind's `read`.

        The file is read if its close was reported, or if no process has the file open for writing. The kernel reports a
        close a moment before it forgets the writer, so the writer is not checked after such a report.
        """
        if name in self._in_writing and self._is_told:
            raise InWriting
        closed = name in self._closed
        self._closed.discard(name)
        self.at = f"{self._directory}/{name}"
        return self._kind.read(self.at, os.geteuid(), closed)

    def put_back(self, name: str) -> bool:
        """Defer a file that is being written. Return whether inotify will report its close."""
        self._in_writing.add(name)
        self.expect(name)
        return self._is_told

    def has_read(self, name: str, signature: Signature) -> None:
        """Save the signature that a file had before it was read, regardless of the result."""
        self._seen[name] = signature

    def expect(self, name: str) -> None:
        """Record that a file exists although it was not read. If it is absent from a later listing, it was deleted."""
        self._seen.setdefault(name, _UNREAD)

    def look_again(self, name: str, mono: int) -> None:
        """Retry a file that can't be read now; a failed read does not mean that the file is missing."""
        self._again.add(name)
        self._take_again(mono + AGAIN)

    def _take_again(self, at: int) -> None:
        self.deadline = at if self.deadline is None else min(self.deadline, at)

    def forget(self, name: str) -> bool:
        """Forget a missing file, and return whether it existed."""
        return self._seen.pop(name, None) is not None

    # events of the kernel

    def _note(self, name: str, mask: int) -> None:
        if not name:
            self.relist()
        elif not self._kind.reads(name):
            if self._kind.is_meant(name) and mask & (inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO):
                self._unread.add(name)
                self.has_news = True
        else:
            self._take_in(name, mask, name)

    def _hear_else(self, event: inotify.InotifyEvent) -> None:
        """Process an event about another directory of the same inotify instance."""

    def _take_in(self, path: str, mask: int, name: str) -> None:
        """Process an event about a path that belongs to the file `name`."""
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
        """Watch the directory and its nearest existing parent, to notice when the directory returns."""
        if not self._kind.heard:
            return
        try:
            self._kernel.open()
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
            with contextlib.suppress(OSError):  # the kernel removed the watch
                self._unwatch(number)

    def _unwatch(self, number: int) -> None:
        assert self._kernel.inotify is not None
        inotify.unwatch(self._kernel.inotify, number)

    def _add(self, path: Path, mask: int) -> int:
        assert self._kernel.inotify is not None
        try:
            return inotify.watch(self._kernel.inotify, str(path), mask | inotify.IN_MASK_ADD)
        except OSError as error:
            self._unwatched = remedy(error)
            return 0

    def _mounts_here(self, table: Sequence[Mount]) -> list[bytes]:
        """Return the mount table's lines for the directory, its subdirectories and its parents."""
        directory = os.fsencode(os.path.realpath(self._directory))
        return [line for line, point in table if _inside(point, directory) or _inside(directory, point)]

    def _listed(self, mono: int, refused: FileRefused | None) -> tuple[set[str], list[Problem]]:
        """List the directory; return the files that changed while unwatched, and the directory's problems.

        `refused` is the reason if other users can change the directory.
        """
        self._arm()
        directory = str(self._directory)
        try:
            if refused is not None:
                raise refused
            names = os.listdir(directory)
        except (OSError, FileRefused) as error:
            is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            if is_missing and self._is_optional:
                return self._missing(), self._listed_well(self._parent, mono)
            self.is_unreadable = True
            if not (is_missing and self._parent):
                self._take_again(mono + AGAIN)
            none = f"; restore it, or, to have no jobs: mkdir {quoted(directory)}" if is_missing else ""
            cause = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            code = "JQ501" if isinstance(error, OSError) else "JQ502"
            return set(), [
                Problem(directory, 0, 0, "", f"{cause}; its last good jobs remain in force{none}", code=code)
            ]
        known = {*filter(self._kind.reads, names), *self._others(names), *self._seen}
        self._unread |= set(filter(self._kind.is_foreign, names))
        trouble = self._listed_well(self._watch and self._hears_all, mono)
        return {name for name in known if self._seen.get(name) != self.signature(name)}, trouble

    def _listed_well(self, is_watched: object, mono: int) -> list[Problem]:
        """Record a complete listing.

        Return [], or a problem if the directory can't be watched and is listed once a minute.
        """
        self.was_listed, self.is_unreadable, self._lost_track = True, False, self._kind.heard and not is_watched
        if not self._lost_track:
            return []
        self._take_again(mono + RESCAN)
        advice = f"cannot be watched, so it is read once a minute: {self._unwatched}"
        return [Problem(str(self._directory), 0, 0, "", advice, code="JQ501")]

    @property
    def _hears_all(self) -> bool:
        """True if each directory that a listing found is watched."""
        return True

    def _missing(self) -> set[str]:
        """Return the files that changed because the optional directory is missing."""
        return set()

    def _others(self, names: Sequence[str]) -> set[str]:
        """Return the job files that own other names in a listing, such as the names of drop-in directories."""
        return set()

    def is_gone(self, name: str) -> bool:
        """Return whether the directory exists but the file does not. Also return False if the file system fails."""
        return self.is_missing_in(name) and os.path.isdir(self._directory)

    def is_missing_in(self, name: str) -> bool:
        """Return whether the file or its directory is missing. Also return False if the file system fails."""
        try:
            os.lstat(f"{self._directory}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            pass
        return False

    def place(self, name: str) -> str:
        """Return the path of a file."""
        return f"{self._directory}/{name}"

    def orphans(self, name: str) -> list[str]:
        """Return a file's drop-in directories."""
        return []

    def signature(self, name: str) -> Signature:
        """Return a file's signature. If files of this kind may be links, add the target's signature."""
        path = f"{self._directory}/{name}"
        return signature_of(path) + (signature_of(path, os.stat) if self._kind.follows else ())


Mount = tuple[bytes, bytes]
"""A line of the mount table, and its mount point."""


def mount_table() -> list[Mount]:
    """Return all mounts, or [] if /proc is missing."""
    try:
        with open(_MOUNTS, "rb") as file:
            lines = file.readlines()
    except OSError:
        return []
    return [(line, _OCTAL.sub(lambda code: bytes([int(code[1], 8)]), line.split(b" ")[4])) for line in lines]


def signature_of(path: str, look: Callable[[str], os.stat_result] = os.lstat) -> Signature:
    """Return a tuple that differs after each change or replacement of a file, or () if the file does not exist."""
    try:
        found = look(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def remedy(error: OSError) -> str:
    """Return the remedy for an inotify(7) error."""
    limits = {errno.ENOSPC: "fs.inotify.max_user_watches", errno.EMFILE: "fs.inotify.max_user_instances"}
    return f"raise {limits[error.errno]}" if error.errno in limits else str(error.strerror)


def _inside(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
