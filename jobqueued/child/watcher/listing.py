"""A look through a directory that others may fill: slice by slice, and not endlessly."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
from collections.abc import Iterable, Iterator
from fnmatch import translate
from itertools import islice

from jobqueued.child.tuples import NamedTuple

_F_SETSIG = 10
SLICE = 200
"""Names looked at in one turn: some 2 ms."""
MOST = 100_000
"""Names looked at in all: whoever goes on to add some ends the look here."""


class Patterns:
    """The patterns for names in one directory, by the path that they are the last part of."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        self._globs: list[tuple[re.Pattern[str], str]] = []
        for path in paths:
            name = os.path.basename(path)
            if re.search(r"[*?[]", name):
                self._globs.append((re.compile(translate(name)), path))
            else:
                self._names[name] = path

    def __len__(self) -> int:
        return len(self._names) + len(self._globs)

    def matching(self, name: str) -> Iterator[str]:
        """The paths whose pattern a name matches."""
        if name in self._names:
            yield self._names[name]
        yield from (path for glob, path in self._globs if glob.match(name))


class Found(NamedTuple):
    """A path that has files: one of them, or the newest, and when that changed last (wall, ns)."""

    path: str
    changed: int
    file: str


class Listing:
    """One look at what is in a directory since some time: call `go_on` until it `is_over`.

    `looked` counts the names.
    """

    def __init__(self, directory: str, patterns: Patterns, since: int, *, newest: bool) -> None:
        """If `newest`, that is looked for, to the end; else any file of a path will do."""
        self._patterns, self._since, self._newest = patterns, since, newest
        self._found: dict[str, Found] = {}
        self.looked, self.is_over = 0, False
        self._entries = iter(_entries(directory))

    def go_on(self) -> list[Found]:
        """Look at some more; all that was found, once it is over."""
        before = self.looked
        for entry in islice(self._entries, SLICE):
            self.looked += 1
            self._look(entry)
        has_all = not self._newest and len(self._found) == len(self._patterns)
        self.is_over = has_all or self.looked >= MOST or self.looked < before + SLICE
        return list(self._found.values()) if self.is_over else []

    def _look(self, entry: os.DirEntry[str]) -> None:
        for path in self._patterns.matching(entry.name):
            with contextlib.suppress(OSError):
                changed = entry.stat(follow_symlinks=False).st_ctime_ns
                known = self._found[path].changed if path in self._found else -1
                if changed >= self._since and changed > known and not _is_being_written(entry):
                    self._found[path] = Found(path, changed, entry.path)


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        yield from entries


def _is_being_written(entry: os.DirEntry[str]) -> bool:
    """True if it will be closed later, which is told."""
    with contextlib.suppress(OSError):
        if entry.is_file(follow_symlinks=False):
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return has_writer(descriptor)
            finally:
                os.close(descriptor)
    return False


def has_writer(descriptor: int) -> bool:
    """True if the kernel refuses a read lease because of a writer (fcntl(2)); False where it gives no leases.

    The owner of a file gets one without any capability, so the sandboxed daemon of root's does of all that it trusts.

    A writer that comes while we hold it waits for these microseconds, and we are told by a signal that does nothing.
    """
    try:
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
