"""A listing of a directory that other users may fill, made slice by slice, with a limit."""

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

from jobqueued.child.contract.tuples import NamedTuple

_F_SETSIG = 10
SLICE = 200
"""Names listed in a turn: about 2 ms."""
MOST = 100_000
"""Maximum names in a listing, which ends even if a user keeps adding files."""


class Patterns:
    """The name patterns in a directory, and their paths."""

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
        """Yield the paths whose pattern matches a name."""
        if name in self._names:
            yield self._names[name]
        yield from (path for glob, path in self._globs if glob.match(name))


class ListedFile(NamedTuple):
    """A path with a matching file, and the file's last change (wall, ns)."""

    path: str
    changed: int
    file: str


class FileListing:
    """A listing of files that changed since an instant. Call `go_on` until `is_over`. `looked` counts the names."""

    def __init__(self, directory: str, patterns: Patterns, since: int, *, newest: bool) -> None:
        """`newest`: search for each path's newest file; otherwise any file is enough."""
        self._patterns, self._since, self._newest = patterns, since, newest
        self._found: dict[str, ListedFile] = {}
        self.looked, self.is_over = 0, False
        self._entries = iter(_entries(directory))

    def go_on(self) -> list[ListedFile]:
        """List the next slice. Return [], or all found files when the listing is over."""
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
                    self._found[path] = ListedFile(path, changed, entry.path)


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        yield from entries


def _is_being_written(entry: os.DirEntry[str]) -> bool:
    """Return whether a process has a file open for writing; its close will then be reported."""
    with contextlib.suppress(OSError):
        if entry.is_file(follow_symlinks=False):
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return has_writer(descriptor)
            finally:
                os.close(descriptor)
    return False


def has_writer(descriptor: int) -> bool:
    """Return whether a file has a writer, because the kernel then refuses a read lease (fcntl(2)). False if unknown.

    The owner of a file gets a lease without any capability, so root's sandboxed daemon gets leases for all files that
    it trusts. A process that opens the file for writing during the lease waits some microseconds, and we get a signal
    that has no effect.
    """
    try:
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
