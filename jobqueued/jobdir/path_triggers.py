"""Files that appear where the host's jobs wait for them (`on: {path: …}`); those of users have watchers of their own.

A turn takes a part of what has happened, as `child/watcher/appearing.py` has it.
"""

from __future__ import annotations

import os
import select
import time

from jobqueued.child.watcher.appearing import Appearing, Trouble
from jobqueued.child.watcher.listing import MOST
from jobqueued.events import PathAppeared
from jobqueued.jobdir.inbox import remedy
from jobqueued.model import Now
from jobqueued.source import Source


class PathTriggers(Source):
    """The files that jobs wait for."""

    def __init__(self) -> None:
        self._files = Appearing()
        self.want, self.begin = self._files.want, self._files.begin

    @property
    def troubles(self) -> list[str]:
        """Tell why something may go unnoticed."""
        return [] if self._files.trouble is None else [in_words(self._files.trouble)]

    def descriptors(self) -> dict[int, int]:
        """One of inotify, readable once something has happened, unless a storm rests."""
        return dict.fromkeys(self._files.descriptors(), select.POLLIN)

    @property
    def deadline(self) -> int | None:
        """The time to read on, to look through a directory, or to tell a path again; None: there is nothing to do."""
        return min((at for at in (self._files.deadline, self._files.tells_at) if at is not None), default=None)

    @property
    def has_more(self) -> bool:
        """True while a directory is looked through, or ways to one have changed."""
        return self._files.has_more

    def ready(self, descriptor: int, now: Now) -> list[PathAppeared]:
        """Read what has happened, once."""
        self._files.read(now.mono)
        return self._told(now.mono)

    def turn(self, now: Now) -> list[PathAppeared]:
        """Do a part of what there is to do, and tell what has appeared."""
        self._files.turn(now.mono)
        return self._told(now.mono)

    def _told(self, mono: int) -> list[PathAppeared]:
        wall = time.time_ns()
        return [event_of(path, instant, file, wall) for path, instant, file in self._files.told(mono)]


def event_of(path: str, instant: int | None, file: str, wall: int) -> PathAppeared:
    """The event of a path that is told, at its own instant, or now."""
    return PathAppeared(path, wall if instant is None else instant, f"x{os.urandom(8).hex()}", file)


def in_words(trouble: Trouble) -> str:
    """Word why something may go unnoticed."""
    if not trouble.number:
        found = f"{trouble.directory} has more than {MOST} files, and events were lost"
        return f"{found}; what came meanwhile may be noticed with the next file only: move what is done elsewhere"
    how = remedy(OSError(trouble.number, os.strerror(trouble.number)))
    return f"cannot watch {trouble.directory}: {how}; until then it is looked at once a minute"
