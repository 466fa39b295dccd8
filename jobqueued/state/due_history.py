"""The history of what was due, for an audit: which text a job file had from when on, clock steps, starts.

Nothing is decided by it.  A change costs one row, in the commit of what the scheduler makes of it, and has its instant.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping

from jobqueued.events import ClockStepped, Event, FileGone, JobsRead
from jobqueued.saved import DueChange
from jobqueued.state.faults import StoreError
from jobqueued.state.store import Store

_NEWEST = "SELECT name, digest, timezone FROM due_change WHERE kind = 'file' GROUP BY name HAVING id = max(id)"
_GONE = ("", "")


class DueHistory:
    """Changes since the start.  `timezone` is that of jobs that name none.

    What can't be read of what an earlier daemon noted is noted anew.
    """

    def __init__(self, store: Store, timezone: str) -> None:
        self._timezone = timezone
        self._newest: dict[str, tuple[str, str]] = {}
        self._texts: dict[str, bytes | None] = {}
        """Those that were read, or kept from before the start, and of which no event has told."""
        self._saved_at = 0
        """The last commit before the start (wall): the jobs of files that change meanwhile were due until then."""
        self._has_begun = False
        with contextlib.suppress(StoreError):
            self._newest = {name: (digest, zone) for name, digest, zone in store.query(_NEWEST)}
            self._texts |= store.files()
            found = store.query("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'saved'")
            self._saved_at = found[0][0] if found else 0
        self._unread = set(self._texts)

    def take_files(self, files: Mapping[str, bytes | None]) -> None:
        """Take the texts of accepted files, by name; None: it is gone.  An event tells of each."""
        self._texts |= files

    def after(self, happened: Iterable[Event], wall: int) -> Iterator[DueChange]:
        """Yield what these events change, which the scheduler is told at that instant."""
        for event in happened:
            match event:
                case ClockStepped(step):
                    yield DueChange("clock", "", wall - step, wall)
                case JobsRead(file=path) | FileGone(file=path):
                    yield from self._started(wall)
                    yield from self._changed(os.path.basename(path), wall)

    def _started(self, wall: int) -> Iterator[DueChange]:
        if not self._has_begun:
            self._has_begun = True
            yield DueChange("start", "", self._saved_at or wall, wall)

    def _changed(self, name: str, wall: int) -> Iterator[DueChange]:
        if name not in self._texts:
            return
        text = self._texts.pop(name)
        is_first = name in self._unread
        self._unread.discard(name)
        version = _GONE if text is None else (hashlib.sha256(text).hexdigest(), self._timezone)
        if version != self._newest.get(name, _GONE):
            self._newest[name] = version
            yield DueChange("file", name, self._saved_at if is_first else wall, wall, *version, text)
