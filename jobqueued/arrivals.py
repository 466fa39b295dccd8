"""Files that appear where jobs wait for them (`on: {path: …}`): told by inotify(7), once they are complete.

A directory that is not there yet is waited for in the nearest one above it that is.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from jobqueued import kernel
from jobqueued.events import PathAppeared

_DIRECTORY = 0x4000_0000
"""IN_ISDIR."""
_COMPLETE = kernel.IN_CLOSE_WRITE | kernel.IN_MOVED_TO
_GONE = kernel.IN_DELETE_SELF | kernel.IN_MOVE_SELF | kernel.IN_IGNORED | kernel.IN_UNMOUNT
_MASK = _COMPLETE | kernel.IN_CREATE | kernel.IN_DELETE_SELF | kernel.IN_MOVE_SELF | kernel.IN_ONLYDIR


class Arrivals:
    """Who waits for which files."""

    def __init__(self) -> None:
        self._inotify = kernel.inotify()
        self._patterns: dict[str, list[str]] = {}
        self._watches: dict[int, str] = {}
        self._looked = time.time_ns()

    def fileno(self) -> int:
        """Readable once something has happened."""
        return self._inotify

    def want(self, paths: Iterable[str]) -> None:
        """Wait for these and no others: absolute, with ``*``, ``?`` and ``[…]`` in the last part only."""
        patterns: dict[str, list[str]] = {}
        for path in paths:
            patterns.setdefault(os.path.dirname(path), []).append(path)
        if patterns != self._patterns:
            self._patterns = patterns
            self._watch()

    def found(self) -> Iterator[PathAppeared]:
        """What is there at the start: maybe it appeared while nobody looked."""
        for path in self._paths():
            if (instant := self._newest(path)) is not None:
                yield _appeared(path, instant)

    def take(self) -> list[PathAppeared]:
        """What has appeared, each path once."""
        found: dict[str, None] = {}
        again = False
        for event in kernel.inotify_events(self._inotify):
            directory = self._watches.get(event.watch, "")
            again |= bool(event.mask & (_GONE | kernel.IN_Q_OVERFLOW)) or directory not in self._patterns
            if self._is_complete(f"{directory}/{event.name}", event.mask):
                found |= dict.fromkeys(self._matching(directory, event.name))
        if again:
            found |= dict.fromkeys(self._found_anew())
        self._looked = time.time_ns()
        return [_appeared(path, self._looked) for path in found]

    def _paths(self) -> list[str]:
        return [path for patterns in self._patterns.values() for path in patterns]

    def _newest(self, path: str) -> int | None:
        """When (wall, ns) the newest file appeared, or changed last, that is there now; None: there is none."""
        directory, times = os.path.dirname(path), []
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if path in self._matching(directory, entry.name):
                    with contextlib.suppress(OSError):
                        times.append(entry.stat(follow_symlinks=False).st_ctime_ns)
        return max(times, default=None)

    def _matching(self, directory: str, name: str) -> list[str]:
        patterns = self._patterns.get(directory, ())
        return [path for path in patterns if fnmatchcase(name, os.path.basename(path))]

    def _is_complete(self, path: str, mask: int) -> bool:
        """A regular file once it is closed, or moved here; a link to a complete one, and all else, at once."""
        if not mask & kernel.IN_CREATE or mask & (_COMPLETE | _DIRECTORY):
            return bool(mask & (_COMPLETE | _DIRECTORY))
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            return not stat.S_ISREG(status.st_mode) or status.st_nlink > 1
        return False

    def _found_anew(self) -> list[str]:
        """What has come since the last look to directories that were missing, or where events were lost."""
        self._watch()
        return [path for path in self._paths() if (self._newest(path) or 0) > self._looked]

    def _watch(self) -> None:
        """Each directory, or the nearest above it that is there."""
        wanted: dict[int, str] = {}
        for directory in self._patterns:
            for place in _upwards(directory):
                with contextlib.suppress(OSError):
                    wanted[kernel.watch(self._inotify, place, _MASK)] = place
                    break
        for number in self._watches.keys() - wanted.keys():
            with contextlib.suppress(OSError):  # it went with its directory
                kernel.unwatch(self._inotify, number)
        self._watches = wanted


def _appeared(path: str, instant: int) -> PathAppeared:
    return PathAppeared(path, instant, f"x{os.urandom(8).hex()}")


def _upwards(directory: str) -> Iterable[str]:
    """A directory, and those above it."""
    while True:
        yield directory or "/"
        if directory in ("", "/"):
            return
        directory = os.path.dirname(directory)
