"""The host's time zone, and the rules of the zones that jobs use, which may change while the daemon runs.

After a change, the daemon re-reads job files and tables, because due times and the instants of `at` depend on zones.
"""

from __future__ import annotations

import os
import time
import zoneinfo
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from jobqueued.base.instants import SECOND
from jobqueued.base.sha256 import sha256
from jobqueued.child.watcher import inotify
from jobqueued.jobfile.scopes import Locality
from jobqueued.settings.settings import Settings
from jobqueued.timing.schedule import forget_zones

_FILES = ("localtime", "timezone")
_ENTRIES = inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO
_CHANGES = _ENTRIES | inotify.IN_CLOSE_WRITE | inotify.IN_ONLYDIR
_LOST = inotify.IN_Q_OVERFLOW | inotify.IN_UNMOUNT
_MOST_LINKS = 40
_CALM = SECOND
"""Pause (ns) after the last change, because packages change several files, and may remove a link before a new one."""


class TimeZones:
    """The zones that jobs in job files use. A check of all zones reads one file for each zone."""

    def __init__(self, config: Settings, etc: Path = Path("/etc")) -> None:
        self._host, self._config = config.locality, config
        self._rules: dict[str, str] = {}
        """Zone → digest of its file when the daemon read the jobs; "" if the file is missing."""
        self._files = [str(etc / name) for name in _FILES]
        self._inotify: int | None = None
        self._watched: dict[int, set[str]] = {}
        """Watch of a directory → entries of this directory that lead to a zone."""
        self._changed: int | None = None
        self.is_asked = False
        self._watch_all()
        self.follow([self.name()])

    def host(self) -> Locality:
        """Return the host's facts for reading job files."""
        return self._host

    def name(self) -> str:
        """Return the zone of jobs without the key `timezone`."""
        return self._host.timezone

    def fileno(self) -> int | None:
        """Return the inotify descriptor, or None if inotify is not available; a rescan checks zones once a minute."""
        return self._inotify

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) to check the zones after a change, or None if nothing changed."""
        return None if self._changed is None else self._changed + _CALM

    def follow(self, names: Iterable[str]) -> None:
        """Also watch the rules of these zones."""
        for name in set(names) - self._rules.keys():
            self._watch_zone(name)
            self._rules[name] = _digest(_path(name))

    def drain(self, mono: int) -> None:
        """Process inotify's events."""
        assert self._inotify is not None
        for event in inotify.events(self._inotify):
            if event.mask & _LOST or event.name in self._watched.get(event.watch, ()):
                self._changed = mono

    def ask(self) -> None:
        """Make the next call of `news` check the zones at once."""
        self.is_asked = True

    def news(self, mono: int) -> list[str]:
        """If a check is due, check the zones; return descriptions of the changes."""
        if not self.is_asked and (self.deadline is None or self.deadline > mono):
            return []
        self.is_asked, self._changed = False, None
        time.tzset()  # because the C library formats the times in the log
        self._watch_all()
        return [*self._of_rules(), *self._of_host()]

    def _of_rules(self) -> Iterator[str]:
        """Remove zones whose rules changed from the cache, and yield a line about these zones.

        A zone whose file is missing keeps its rules.
        """
        found = {name: _digest(_path(name)) for name in self._rules}
        changed = sorted(name for name, known in self._rules.items() if found[name] not in ("", known))
        if changed:
            self._rules |= {name: found[name] for name in changed}
            forget_zones(changed)
            yield f"new rules in the time zone database for: {', '.join(changed)}"

    def _of_host(self) -> Iterator[str]:
        before, self._host = self.name(), self._config.locality
        if (name := self.name()) != before:
            self.follow([name])
            yield f"the host's time zone is {name} now; it was {before}"

    def _watch_all(self) -> None:
        """Watch the current way to each file, because a change of a link or directory leads to other directories."""
        before, self._watched = self._watched, {}
        for path in self._files:
            self._watch(path)
        for name in self._rules:
            self._watch_zone(name)
        for watch in before.keys() - self._watched.keys():
            with suppress(OSError):  # the directory was deleted
                assert self._inotify is not None
                inotify.unwatch(self._inotify, watch)

    def _watch_zone(self, name: str) -> None:
        for place in zoneinfo.TZPATH:
            self._watch(path := os.path.join(place, name))
            if os.path.isfile(path):
                return

    def _watch(self, path: str) -> None:
        """Watch each directory on the way to a file if possible. Watching a directory twice has no effect."""
        for directory, name in _steps(path):
            with suppress(OSError):
                self._inotify = inotify.instance() if self._inotify is None else self._inotify
                watch = inotify.watch(self._inotify, directory, _CHANGES)
                self._watched.setdefault(watch, set()).add(name)


def _path(name: str) -> str:
    """Return the path of a zone's file, or "" if the host has no such file."""
    return next((path for place in zoneinfo.TZPATH if os.path.isfile(path := os.path.join(place, name))), "")


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Yield each directory and its entry on the way to a file, also of links.

    An entry is yielded before it is read, so that a caller who watches its directory misses no change.
    """
    todo, directory, links = path.split("/")[::-1], "/", 0
    while todo and links < _MOST_LINKS:
        name = todo.pop()
        if name == "..":
            directory = os.path.dirname(directory)
        elif name not in ("", "."):
            yield directory, name
            place = os.path.join(directory, name)
            try:
                target = os.readlink(place)
            except OSError:  # not a link
                directory = place
                continue
            links += 1
            todo += target.split("/")[::-1]
            directory = "/" if target.startswith("/") else directory


def _digest(path: str) -> str:
    with suppress(OSError):
        return sha256(Path(path).read_bytes()).hexdigest()
    return ""
