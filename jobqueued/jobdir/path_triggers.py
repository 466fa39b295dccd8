"""Files that appear where jobs wait for them (`on: {path: …}`): told by inotify(7), once they are complete.

A directory that is not there yet is waited for in the nearest one above it that is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from collections.abc import Container, Iterable, Iterator
from fnmatch import fnmatchcase

from jobqueued.events import PathAppeared
from jobqueued.host import linux
from jobqueued.jobdir.inbox import RESCAN, remedy
from jobqueued.jobdir.trust import has_writer
from jobqueued.model import Now
from jobqueued.source import Source

_DIRECTORY = 0x4000_0000
"""IN_ISDIR."""
_CLOCK_REALTIME_COARSE = 5
_COMPLETE = linux.IN_CLOSE_WRITE | linux.IN_MOVED_TO
_GONE = linux.IN_DELETE_SELF | linux.IN_MOVE_SELF | linux.IN_IGNORED | linux.IN_UNMOUNT
_ANOTHER_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG})
_MASK = _COMPLETE | linux.IN_CREATE | linux.IN_DELETE_SELF | linux.IN_MOVE_SELF | linux.IN_ONLYDIR


class PathTriggers(Source):
    """The files that jobs wait for.  `trouble` says which directories can't be watched, and why; "": all are."""

    def __init__(self) -> None:
        self._inotify = _inotify()
        self.trouble = ""
        self._look_at: int | None = None
        self._patterns: dict[str, list[str]] = {}
        self._watches: dict[int, str] = {}
        self._looked = _coarse()

    def descriptors(self) -> dict[int, int]:
        """One of inotify, readable once something has happened."""
        return {} if self._inotify is None else {self._inotify: select.POLLIN}

    @property
    def deadline(self) -> int | None:
        """The time to look, as inotify does not tell of all of them; None: it does."""
        return self._look_at

    def turn(self, now: Now) -> list[PathAppeared]:
        """Look at all of them, and try to watch them again."""
        if self._look_at is None or self._look_at > now.mono:
            return []
        self._inotify = _inotify() if self._inotify is None else self._inotify
        since, self._looked = self._looked, _coarse()
        self._watch()
        instant = time.time_ns()
        return [_appeared(path, instant) for path in dict.fromkeys(self._there(self._patterns, since))]

    def ready(self, descriptor: int, now: Now) -> list[PathAppeared]:
        """Tell what has appeared."""
        return self.take()

    def want(self, paths: Iterable[str]) -> None:
        """Wait for these and no others: absolute, with ``*``, ``?`` and ``[…]`` in the last part only."""
        patterns: dict[str, list[str]] = {}
        for path in paths:
            patterns.setdefault(os.path.dirname(path), []).append(path)
        if patterns != self._patterns:
            self._patterns = patterns
            self._watch()

    def found(self) -> Iterator[PathAppeared]:
        """Find what is there at the start: maybe it appeared while nobody looked."""
        for path in self._paths():
            if (instant := self._newest(path)) is not None:
                yield _appeared(path, instant)

    def take(self) -> list[PathAppeared]:
        """Take what has appeared, each path once."""
        found: dict[str, None] = {}
        while changed := self._read(found):
            fresh, lost = self._watch(), changed & linux.IN_Q_OVERFLOW
            found |= dict.fromkeys(self._there(fresh, 0))
            if lost:
                found |= dict.fromkeys(self._there(self._patterns, self._looked))
            elif not fresh:
                break
        self._looked = _coarse()
        instant = time.time_ns()
        return [_appeared(path, instant) for path in found]

    def _read(self, found: dict[str, None]) -> int:
        """Add what the events up to now tell; those of their bits that tell of directories, or of lost events."""
        changed = 0
        for event in [] if self._inotify is None else linux.inotify_events(self._inotify):
            directory = self._watches.get(event.watch, "")
            changed |= event.mask & (_GONE | linux.IN_Q_OVERFLOW)
            if directory not in self._patterns:
                changed |= event.mask
            if self._is_complete(f"{directory}/{event.name}", event.mask):
                found |= dict.fromkeys(self._matching(directory, event.name))
        return changed

    def _paths(self) -> list[str]:
        return [path for patterns in self._patterns.values() for path in patterns]

    def _newest(self, path: str) -> int | None:
        """The time (wall, ns) at which the newest file that is there now appeared, or changed last; None: none is."""
        directory, times = os.path.dirname(path), []
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if path in self._matching(directory, entry.name) and not _is_being_written(entry):
                    with contextlib.suppress(OSError):
                        times.append(entry.stat(follow_symlinks=False).st_ctime_ns)
        return max(times, default=None)

    def _matching(self, directory: str, name: str) -> list[str]:
        patterns = self._patterns.get(directory, ())
        return [path for path in patterns if fnmatchcase(name, os.path.basename(path))]

    def _is_complete(self, path: str, mask: int) -> bool:
        """A regular file once it is closed, or moved here; a link to a complete one, and all else, at once."""
        if not mask & linux.IN_CREATE or mask & (_COMPLETE | _DIRECTORY):
            return bool(mask & (_COMPLETE | _DIRECTORY))
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            return not stat.S_ISREG(status.st_mode) or status.st_nlink > 1
        return False

    def _there(self, directories: Container[str], since: int) -> Iterator[str]:
        """The paths in these directories that have a file since then."""
        for path in self._paths():
            if os.path.dirname(path) in directories and (newest := self._newest(path)) is not None and newest >= since:
                yield path

    def _watch(self) -> set[str]:
        """Each directory, or the nearest above it that is there; which of them were not watched."""
        self.trouble, self._look_at = "", None
        wanted = dict(found for directory in self._patterns if (found := self._watched(directory)) is not None)
        if self._inotify is not None:
            for number in self._watches.keys() - wanted.keys():
                with contextlib.suppress(OSError):  # it went with its directory
                    linux.unwatch(self._inotify, number)
        fresh = {place for number, place in wanted.items() if number not in self._watches}
        self._watches = wanted
        return fresh

    def _watched(self, directory: str) -> tuple[int, str] | None:
        """The watch for a directory, and where it is; None: it can't be watched, so it is looked at by itself."""
        for place in _upwards(directory):
            try:
                if self._inotify is None:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return linux.watch(self._inotify, place, _MASK), place
            except OSError as error:
                if error.errno not in _ANOTHER_PLACE:
                    how = f"{remedy(error)}; until then it is looked at once a minute"
                    self.trouble = f"cannot watch {directory}: {how}"
                    break
        self._look_at = time.monotonic_ns() + RESCAN
        return None


def _inotify() -> int | None:
    """A descriptor of inotify(7); None: there is none to be had."""
    try:
        return linux.inotify()
    except OSError:
        return None


def _coarse() -> int:
    """The clock that files are stamped with."""
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


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


def _appeared(path: str, instant: int) -> PathAppeared:
    return PathAppeared(path, instant, f"x{os.urandom(8).hex()}")


def _upwards(directory: str) -> Iterator[str]:
    """A directory, and those above it."""
    while True:
        yield directory or "/"
        if directory in ("", "/"):
            return
        directory = os.path.dirname(directory)
