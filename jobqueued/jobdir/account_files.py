"""The host's own users and groups: where their files change, what jobs ask for is looked up anew.

What a network's database says is asked at the start, at a reload, and where jobs are read.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

from jobqueued.child.watcher import inotify
from jobqueued.events import Reloaded
from jobqueued.model import SECOND, Now
from jobqueued.source import Source

_FILES = frozenset(("passwd", "group"))
_CALM = SECOND
"""The time without a further change: programs that make a user change these files several times."""


class AccountFiles(Source):
    """Watches them; a host that gives no inotify does without."""

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
        """Of inotify."""
        return {} if self._inotify is None else {self._inotify: select.POLLIN}

    @property
    def deadline(self) -> int | None:
        """The time from which a change is told."""
        return None if self._changed is None else self._changed + _CALM

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Take in what inotify tells; what it has lost may have been one of the files."""
        for event in inotify.events(descriptor):
            if event.name in _FILES or event.mask & inotify.IN_Q_OVERFLOW:
                self._changed = now.mono
        return ()

    def turn(self, now: Now) -> list[Reloaded]:
        """Tell that they have changed."""
        self._changed = None
        return [Reloaded()]
