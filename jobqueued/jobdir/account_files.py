"""The files of the host's local users and groups. When these files change, the daemon refreshes the jobs' accounts.

The daemon queries network databases only at its start, at a reload, and when it reads jobs.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

from jobqueued.base.instants import SECOND
from jobqueued.child.watcher import inotify
from jobqueued.model.events import Reloaded
from jobqueued.model.job import Now
from jobqueued.model.source import Source

_FILES = frozenset(("passwd", "group"))
_CALM = SECOND
"""Pause (ns) after the last change, because programs that add a user change these files several times."""


class AccountFiles(Source):
    """Watches /etc/passwd and /etc/group. Without inotify, only a reload notices changes."""

    def __init__(self, directory: Path = Path("/etc")) -> None:
        self._inotify: int | None = None
        self._changed: int | None = None
        try:
            self._inotify = inotify.instance()
            mask = inotify.IN_MOVED_TO | inotify.IN_CLOSE_WRITE | inotify.IN_ONLYDIR
            inotify.watch(self._inotify, str(directory), mask)
        except OSError:
            self.close()

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            os.close(self._inotify)
            self._inotify = None

    def descriptors(self) -> dict[int, int]:
        """Return the inotify descriptor, or {} if inotify is not available."""
        return {} if self._inotify is None else {self._inotify: select.POLLIN}

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) at which a change is reported, or None."""
        return None if self._changed is None else self._changed + _CALM

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Read inotify events, and record whether a file changed; an overflow counts as a change."""
        for event in inotify.events(descriptor):
            if event.name in _FILES or event.mask & inotify.IN_Q_OVERFLOW:
                self._changed = now.mono
        return ()

    def turn(self, now: Now) -> list[Reloaded]:
        """Report a change once its pause is over."""
        self._changed = None
        return [Reloaded()]
