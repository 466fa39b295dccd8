"""Files that the host's jobs wait for (`on: {path: …}`). Users' jobs have a separate watcher process for each user.

Each turn handles only some of the events, as in `child/watcher/appearing.py`.
"""

from __future__ import annotations

import os
import select
import time

from jobqueued.child.watcher.appearing import Appearing, Trouble
from jobqueued.child.watcher.listing import MOST
from jobqueued.jobdir.inbox import remedy
from jobqueued.model.events import PathAppeared
from jobqueued.model.job import Now
from jobqueued.model.source import Source


class PathTriggers(Source):
    """The files that the host's jobs wait for."""

    def __init__(self) -> None:
        self._files = Appearing()
        self.want, self.begin = self._files.want, self._files.begin

    @property
    def troubles(self) -> list[str]:
        """The reasons why a file may remain unnoticed."""
        return [] if self._files.trouble is None else [in_words(self._files.trouble)]

    def descriptors(self) -> dict[int, int]:
        """Return the inotify descriptor, or {} while a burst of events is paused."""
        return dict.fromkeys(self._files.descriptors(), select.POLLIN)

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) to read events, search a directory or report a path next, or None."""
        return min((at for at in (self._files.deadline, self._files.tells_at) if at is not None), default=None)

    @property
    def has_more(self) -> bool:
        """True while a search of a directory, or an update of watches, is not finished."""
        return self._files.has_more

    def ready(self, descriptor: int, now: Now) -> list[PathAppeared]:
        """Read the pending events once."""
        self._files.read(now.mono)
        return self._pop_due(now.mono)

    def turn(self, now: Now) -> list[PathAppeared]:
        """Do part of the work, and return the files that appeared."""
        self._files.turn(now.mono)
        return self._pop_due(now.mono)

    def _pop_due(self, mono: int) -> list[PathAppeared]:
        wall = time.time_ns()
        return [event_of(path, instant, file, wall) for path, instant, file in self._files.pop_due(mono)]


def event_of(path: str, instant: int | None, file: str, wall: int) -> PathAppeared:
    """Return the event for a path at `instant`, or at `wall` if `instant` is None."""
    return PathAppeared(path, wall if instant is None else instant, f"x{os.urandom(8).hex()}", file)


def in_words(trouble: Trouble) -> str:
    """Describe why a file may remain unnoticed."""
    if not trouble.number:
        found = f"{trouble.directory} has more than {MOST} files, so events were lost"
        return (
            f"{found}: a new file might go unnoticed until the next one arrives; move processed files to"
            " another directory"
        )
    how = remedy(OSError(trouble.number, os.strerror(trouble.number)))
    return f"cannot watch {trouble.directory}, so it is checked once a minute: {how}"
