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

_FILES = frozenset(("localtime", "timezone"))
_CHANGES = inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_CLOSE_WRITE | inotify.IN_DELETE | inotify.IN_ONLYDIR
_CALM = SECOND
"""Pause (ns) after the last change, because packages change several files, and may remove a link before a new one."""


class TimeZones:
    """The zones that jobs in job files use. A check of all zones reads one file for each zone."""

    def __init__(self, config: Settings, etc: Path = Path("/etc")) -> None:
        self._host, self._config = config.locality, config
        self._rules: dict[str, str] = {}
        """Zone → digest of its file when the daemon read the jobs; "" if the file is missing."""
        self._inotify: int | None = None
        self._etc = self._watch(str(etc))
        self._changed: int | None = None
        self.is_asked = False
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
            path = _path(name)
            self._rules[name] = _digest(path)
            for directory in {os.path.dirname(path), os.path.dirname(os.path.realpath(path))} - {""}:
                self._watch(directory)

    def drain(self, mono: int) -> None:
        """Process inotify's events."""
        assert self._inotify is not None
        for event in inotify.events(self._inotify):
            if event.watch != self._etc or event.name in _FILES:
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

    def _watch(self, directory: str) -> int:
        """Watch a directory if possible, and return the watch or 0. Watching a directory twice has no effect."""
        with suppress(OSError):
            self._inotify = inotify.instance() if self._inotify is None else self._inotify
            return inotify.watch(self._inotify, directory, _CHANGES)
        return 0


def _path(name: str) -> str:
    """Return the path of a zone's file, or "" if the host has no such file."""
    return next((path for place in zoneinfo.TZPATH if os.path.isfile(path := os.path.join(place, name))), "")


def _digest(path: str) -> str:
    with suppress(OSError):
        return sha256(Path(path).read_bytes()).hexdigest()
    return ""
