"""Files that appear in watched directories, reported with inotify(7) when they are complete.

While a directory is missing, the nearest existing directory above it is watched. Times are CLOCK_MONOTONIC (ns), except
file times.

Other users may write into the directories, so the work of a turn is limited: one read of events, with a pause after a
burst, and one slice of a directory listing (`listing`), which starts at most every 5 s. Each path is reported up to 10
times at once, then once a second. A report covers all files that appeared after the previous report, so no file is
missed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from collections.abc import Iterable, Iterator

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.watcher import inotify
from jobqueued.child.watcher.listing import MOST, SLICE, FileListing, Patterns

SECOND = 1_000_000_000
RESCAN = 60 * SECOND
"""Minimum time (ns) between two listings of a directory that can't be watched."""
READ = 16 << 10
"""Maximum bytes of events read in a turn: at most a thousand events, about 2 ms."""
STORM = 50
"""If a read returns more events than this, more may be pending.

Otherwise, no event is pending, because an event has at most 272 bytes.
"""
REST = SECOND // 50
"""Pause (ns) before the next read in a burst of events. With this pause, a burst takes a tenth of a CPU."""
PAUSE = 5 * SECOND
"""Minimum time (ns) between two listings of a directory that needs several slices."""
EVERY, BURST = SECOND, 10
"""Interval (ns) between reports for a path, and maximum number of reports at once after a calm period."""
TOLD = 64
"""Maximum paths reported in a turn."""

_DIRECTORY = 0x4000_0000
"""IN_ISDIR."""
_CLOCK_REALTIME_COARSE = 5
_COMPLETE = inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO
_GONE = inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_IGNORED | inotify.IN_UNMOUNT
_ANOTHER_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_MASK = _COMPLETE | inotify.IN_CREATE | inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF | inotify.IN_ONLYDIR
_NOW = -1


class Appeared(NamedTuple):
    """A path to report, with a matching file. `instant`: the file's last change (wall, ns); None means now."""

    path: str
    instant: int | None
    file: str


class Trouble(NamedTuple):
    """The reason why files in a directory may be missed: an errno, or 0 if the directory has too many files."""

    directory: str
    number: int


class Appearing:
    """Watches for the files that jobs wait for."""

    def __init__(self) -> None:
        self._inotify = _inotify()
        self._unwatched: Trouble | None = None
        self._look_at: int | None = None
        self._wanted: set[str] = set()
        self._patterns: dict[str, Patterns] = {}
        self._ways: set[str] = set()
        """The directories of the paths, and all directories above them."""
        self._watches: dict[int, set[str]] = {}
        """Number of a watch → paths in its directory.

        The kernel has only one watch for a directory with several paths.
        """
        self._has_moved = False
        """True if a watched directory may have been replaced, or is no longer the nearest existing directory."""
        self._rests_until: int | None = None
        self._looked = _coarse()
        self._unlisted: dict[str, int] = {}
        """Directory to list → instant (wall, ns) after which files may have been missed in it."""
        self._listed: dict[str, int] = {}
        """Directory → time of its last listing."""
        self._listing: tuple[str, bool, FileListing] | None = None
        self._too_many: dict[str, int] = {}
        """Directory whose last listing was cut off → time of this listing."""
        self._appeared: dict[str, tuple[int, str]] = {}
        """Path to report → last change of its file (`_NOW` if it just appeared), and the file name."""
        self._paid: dict[str, int] = {}
        """Path → time when its reports no longer count toward the limit ("virtual scheduling" in ATM's GCRA)."""

    @property
    def trouble(self) -> Trouble | None:
        """Return the reason why files may be missed, or None."""
        if self._unwatched is not None or not self._too_many:
            return self._unwatched
        return Trouble(next(iter(self._too_many)), 0)

    def descriptors(self) -> dict[int, int]:
        """Return the inotify descriptor, readable after an event, or {} during the pause in a burst."""
        if self._inotify is None or self._rests_until is not None:
            return {}
        return {self._inotify: select.POLLIN}

    @property
    def deadline(self) -> int | None:
        """Return the time of the next read or listing, or None if neither is planned."""
        times = [self._listed.get(directory, -PAUSE) + PAUSE for directory in self._unlisted]
        times += [at for at in (self._look_at, self._rests_until) if at is not None]
        return min(times, default=None)

    @property
    def tells_at(self) -> int | None:
        """Return the time when `pop_due` has a path to return, or None if no path is waiting."""
        return min((self._paid.get(path, 0) - (BURST - 1) * EVERY for path in self._appeared), default=None)

    @property
    def has_more(self) -> bool:
        """Return whether a listing or an update of the watches is unfinished."""
        return self._listing is not None or self._has_moved

    def read(self, mono: int) -> None:
        """Read events once."""
        before = _coarse()
        happened = [] if self._inotify is None else list(inotify.events(self._inotify, READ))
        is_storm, lost = len(happened) > STORM, any(event.mask & inotify.IN_Q_OVERFLOW for event in happened)
        if is_storm:
            self._rests_until = mono + REST
        if lost:
            self._request_listings(self._patterns, self._looked)
        if lost or not is_storm:
            self._looked = before
        self._take(happened)

    def turn(self, mono: int) -> None:
        """Do a part of the pending work."""
        if self._rests_until is not None and self._rests_until <= mono:
            self._rests_until = None
        if self._look_at is not None and self._look_at <= mono:
            self._list_all()
        if self._has_moved:
            self._request_listings(self._watch() & self._patterns.keys(), 0)
        self._list(mono)

    def pop_due(self, mono: int) -> list[Appeared]:
        """Return the paths to report now, and forget them."""
        ready = [path for path in self._appeared if self._paid.get(path, 0) - (BURST - 1) * EVERY <= mono]
        found = []
        for path in ready[:TOLD]:
            changed, file = self._appeared.pop(path)
            self._paid[path] = max(self._paid.get(path, 0), mono) + EVERY
            found.append(Appeared(path, None if changed == _NOW else changed, file))
        return found

    def want(self, paths: Iterable[str]) -> None:
        """Wait for exactly these paths: absolute, with ``*``, ``?`` and ``[…]`` only in the last part."""
        wanted: dict[str, list[str]] = {}
        for path in paths:
            wanted.setdefault(os.path.dirname(path), []).append(path)
        known = {path for paths in wanted.values() for path in paths}
        if known == self._wanted:
            return
        self._wanted, patterns = known, {directory: Patterns(paths) for directory, paths in wanted.items()}
        self._patterns, self._ways = patterns, {place for directory in patterns for place in _upwards(directory)}
        self._listing = None if self._listing is None or self._listing[0] not in patterns else self._listing
        self._unlisted, self._listed, self._too_many = (
            {name: at for name, at in of_directories.items() if name in patterns}
            for of_directories in (self._unlisted, self._listed, self._too_many)
        )
        self._appeared = {path: found for path, found in self._appeared.items() if path in known}
        self._paid = {path: at for path, at in self._paid.items() if path in known}
        self._watch()

    def begin(self) -> None:
        """Request listings of all directories, to find files that appeared before the start."""
        self._request_listings(self._patterns, _NOW)

    # events

    def _take(self, happened: Iterable[inotify.InotifyEvent]) -> None:
        """Handle events. Events with the same name are handled together."""
        names: dict[tuple[str, str], int] = {}
        for event in happened:
            self._has_moved |= bool(event.mask & _GONE)
            for place in self._watches.get(event.watch, ()):
                if place in self._patterns:
                    names[place, event.name] = names.get((place, event.name), 0) | event.mask
                if f"{place.rstrip('/')}/{event.name}" in self._ways:
                    self._has_moved = True
        for (directory, name), mask in names.items():
            fresh = [path for path in self._patterns[directory].matching(name) if path not in self._appeared]
            if fresh and _is_complete(f"{directory}/{name}", mask):
                self._appeared |= dict.fromkeys(fresh, (_NOW, f"{directory}/{name}"))

    def _watch(self) -> set[str]:
        """Watch each directory, or the nearest existing directory above it. Return the newly watched directories.

        If there are any, the next turn repeats this call, because paths may have changed before their watch began.
        """
        self._unwatched, self._look_at = None, None
        wanted: dict[int, set[str]] = {}
        for number, place in filter(None, map(self._watched, self._patterns)):
            wanted.setdefault(number, set()).add(place)
        if self._inotify is not None:
            for number in self._watches.keys() - wanted.keys():
                with contextlib.suppress(OSError):  # the kernel removed the watch with its directory
                    inotify.unwatch(self._inotify, number)
        fresh = {place for number, places in wanted.items() for place in places - self._watches.get(number, set())}
        self._watches, self._has_moved = wanted, bool(fresh)
        return fresh

    def _watched(self, directory: str) -> tuple[int, str] | None:
        """Return the watch for a directory, and the watched directory, or None if the directory can only be listed."""
        for place in _upwards(directory):
            try:
                if self._inotify is None:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return inotify.watch(self._inotify, place, _MASK), place
            except OSError as error:
                if error.errno not in _ANOTHER_PLACE:
                    self._unwatched = Trouble(directory, error.errno or errno.EIO)
                    break
        self._look_at = time.monotonic_ns() + RESCAN
        return None

    # listings

    def _list_all(self) -> None:
        """List all directories, and retry to watch them."""
        self._inotify = _inotify() if self._inotify is None else self._inotify
        since, self._looked = self._looked, _coarse()
        self._watch()
        self._request_listings(self._patterns, since)

    def _request_listings(self, directories: Iterable[str], since: int) -> None:
        """Request listings of directories for files that appeared since an instant.

        `_NOW` means each path's newest file.
        """
        for directory in directories:
            self._unlisted[directory] = min(since, self._unlisted.get(directory, since))

    def _list(self, mono: int) -> None:
        """List the next slice of a directory. A directory that was just listed has to wait."""
        if self._listing is None:
            ready = (name for name in self._unlisted if self._listed.get(name, -PAUSE) + PAUSE <= mono)
            if (directory := next(ready, None)) is None:
                return
            since = self._unlisted.pop(directory)
            at_start = since == _NOW
            self._listing = (
                directory,
                at_start,
                FileListing(directory, self._patterns[directory], since, newest=at_start),
            )
        directory, at_start, listing = self._listing
        for path, changed, file in listing.go_on():
            self._appeared.setdefault(path, (changed if at_start else _NOW, file))
        if listing.is_over:
            self._listing = None
            if at_start:
                self.read(mono)  # so that events about these files cause no second report
            if listing.looked >= SLICE:
                self._listed[directory] = mono
            self._too_many.pop(directory, None)
            if listing.looked >= MOST:
                self._too_many[directory] = mono


def _inotify() -> int | None:
    """Return an inotify(7) descriptor, or None if no descriptor is available."""
    try:
        return inotify.instance()
    except OSError:
        return None


def _coarse() -> int:
    """Return the time (wall, ns) on the clock for file timestamps."""
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def _is_complete(path: str, mask: int) -> bool:
    """Return whether a file is complete: a regular file after it was closed or moved here, any other type at once."""
    if not mask & inotify.IN_CREATE or mask & (_COMPLETE | _DIRECTORY):
        return bool(mask & (_COMPLETE | _DIRECTORY))
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        return not stat.S_ISREG(status.st_mode) or status.st_nlink > 1
    return False


def _upwards(directory: str) -> Iterator[str]:
    """Yield a directory and all directories above it."""
    while True:
        yield directory or "/"
        if directory in ("", "/"):
            return
        directory = os.path.dirname(directory)
