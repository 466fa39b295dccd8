"""The history of due times, for an audit: the texts of job files over time, clock steps, and starts.

No decision depends on this history. Each change is one row with its instant, in the same commit as the decisions of its
turn.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from jobqueued.base.sha256 import sha256
from jobqueued.model.events import ClockStepped, Event, FileGone, JobsRead
from jobqueued.model.saved import DueChange
from jobqueued.state.db.faults import StoreError
from jobqueued.state.db.store import Store

_NEWEST = "SELECT name, digest, timezone FROM due_change WHERE kind = 'file' GROUP BY name HAVING id = max(id)"
_GONE = ("", "")

Noted = Callable[[str, bytes], bytes]
"""Function that converts a file's name and text to a string that defines all jobs of the file without other files."""


class DueHistory:
    """The changes of due times since the start of the daemon. `zone` returns the timezone of jobs that set no timezone.

    An earlier daemon saved `newest` (file → last recorded digest and timezone), `texts` (file → last accepted text) and
    `saved_at` (its last commit, wall, or 0). `noted` converts a file's text to the form to save.
    """

    def __init__(
        self,
        zone: Callable[[], str],
        newest: Mapping[str, tuple[str, str]],
        texts: Mapping[str, bytes],
        saved_at: int,
        noted: Noted = lambda _, text: text,
    ) -> None:
        self._zone, self._newest, self._saved_at, self._noted = zone, dict(newest), saved_at, noted
        self._texts: dict[str, bytes | None] = dict(texts)
        """File → text that no event has reported yet."""
        self._unread = set(texts)
        """Files without an event since the start. Their earlier text was in force until the earlier daemon's last
        commit.
        """
        self._has_begun = False

    @classmethod
    def of(cls, store: Store, zone: Callable[[], str], noted: Noted = lambda _, text: text) -> DueHistory:
        """Return a history that continues the one in state.db; if the saved history can't be read, record all files
        once more.
        """
        with contextlib.suppress(StoreError):
            newest = {name: (digest, zone) for name, digest, zone in store.query(_NEWEST)}
            found = store.query("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'saved'")
            return cls(zone, newest, store.files(), found[0][0] if found else 0, noted)
        return cls(zone, {}, {}, 0, noted)

    def take_files(self, files: Mapping[str, bytes | None]) -> None:
        """Add the texts of accepted files, by name; None means a deleted file. An event for each file must follow."""
        self._texts |= files

    def after(self, happened: Iterable[Event], wall: int) -> Iterator[DueChange]:
        """Yield the changes that these events cause; the scheduler receives the events at `wall`."""
        for event in happened:
            match event:
                case ClockStepped(step):
                    yield DueChange("clock", "", wall - step, wall)
                case JobsRead(file=path) | FileGone(file=path):
                    yield from self._started(wall)
                    yield from self._changed(self._name(path), wall)

    def anew(self, texts: Mapping[str, bytes | None]) -> Iterator[DueChange]:
        """Yield changes that record these texts of accepted files as current from now on, because state.db was lost."""
        wall = time.time_ns()
        for name, text in texts.items():
            if text is not None:
                noted = self._noted(name, text)
                yield DueChange("file", name, wall, wall, *self._version(noted), noted)

    def _name(self, path: str) -> str:
        """Return the name of a file in state.db; the name of a cron table includes its directory."""
        directory, name = os.path.split(path)
        with_directory = f"{os.path.basename(directory)}/{name}"
        return with_directory if with_directory in self._texts else name

    def _version(self, text: bytes | None) -> tuple[str, str]:
        return _GONE if text is None else (sha256(text).hexdigest(), self._zone())

    def _started(self, wall: int) -> Iterator[DueChange]:
        if not self._has_begun:
            self._has_begun = True
            yield DueChange("start", "", self._saved_at or wall, wall)

    def _changed(self, name: str, wall: int) -> Iterator[DueChange]:
        if name not in self._texts:
            return
        found = self._texts.pop(name)
        text = None if found is None else self._noted(name, found)
        is_first = name in self._unread
        self._unread.discard(name)
        version = self._version(text)
        if version != self._newest.get(name, _GONE):
            self._newest[name] = version
            if version == _GONE:  # this limits memory, because users may keep creating files with new names
                del self._newest[name]
            yield DueChange("file", name, self._saved_at if is_first else wall, wall, *version, text)
