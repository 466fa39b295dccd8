"""The metrics as a text file for node_exporter, written at most every 15 s, and once a minute if nothing changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from jobqueued.base.instants import SECOND
from jobqueued.child.contract import atomic_file
from jobqueued.control.protocol.replies import TellBug
from jobqueued.host.log import Log
from jobqueued.metrics.exposition import Told, text
from jobqueued.metrics.families import FAMILIES, Sample
from jobqueued.model.job import Now
from jobqueued.model.source import Source

EVERY, HEARTBEAT = 15 * SECOND, 60 * SECOND
_READABLE = 0o644
_PIECES = 8
"""Maximum number of pieces of text in a turn: about 3 ms."""


class MetricsFile(Source):
    """Writes the metrics that `told` returns to the file `path`; None means no file. `version` grows with each change.

    A failed write is retried each minute, and reported as a problem until a write succeeds. If a bug prevents a write,
    `tell_bug` logs it, and the version is not written.
    """

    def __init__(
        self,
        path: str | None,
        told: Callable[[Now], Iterable[Told]],
        version: Callable[[], int],
        log: Log,
        tell_bug: TellBug,
    ) -> None:
        self._path, self._told, self._version, self._log, self._tell_bug = path, told, version, log, tell_bug
        self._at: int | None = None
        """Time (CLOCK_MONOTONIC, ns) when the last write started, or None before the first write."""
        self._written = -1
        """The version that was written last, or is being written."""
        self._parts: list[str] = []
        self._rest: Iterator[str] | None = None
        self._trouble = ""

    @property
    def troubles(self) -> list[str]:
        """The reason why the file can't be written, if any."""
        return [self._trouble] if self._trouble else []

    @property
    def has_more(self) -> bool:
        """Return whether the file is being written."""
        return self._rest is not None

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) of the next write, or None if no file is written."""
        if self._path is None or self._at is None:
            return None if self._path is None else 0
        return self._at + (HEARTBEAT if self._trouble or self._written == self._version() else EVERY)

    def turn(self, now: Now) -> tuple[()]:
        """Prepare the next pieces of text; after the last piece, replace the file."""
        if self._path is None:
            return ()
        if self._rest is None:
            self._at, self._written, self._parts = now.mono, self._version(), []
            stamp = FAMILIES["jobqueue_written_timestamp_seconds"], [[Sample("", {}, now.wall / SECOND)]]
            self._rest = text(chain(self._told(now), [stamp]), openmetrics=False)
        try:
            pieces = list(islice(self._rest, _PIECES))
        except Exception as bug:
            self._rest = None
            self._tell_bug("the file of metrics", bug)
            return ()
        self._parts += pieces
        if len(pieces) < _PIECES:
            self._rest = None
            self._replace(self._path)
        return ()

    def _replace(self, path: str) -> None:
        try:
            os.stat(os.path.dirname(path))  # don't make a missing directory, because no other user could read it
            atomic_file.replace(path, "".join(self._parts).encode(errors="replace"), _READABLE)
        except OSError as error:
            if not self._trouble:
                mend = "its directory must exist, and ReadWritePaths= of the unit must allow it (docs/metrics.md)"
                self._trouble = f"cannot write the metrics to {path}: {error.strerror}; {mend}"
                self._log.say("trouble", text=self._trouble)
            return
        if self._trouble:
            self._trouble = ""
            self._log.say("recovered", text=f"{path}: metrics are written again")
