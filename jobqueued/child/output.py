"""The output of one attempt: from a pipe to the run's log file, capped, counted, never holding the job up."""

from __future__ import annotations

import os
import re
from typing import Any

_CHUNK = 1 << 16
_TAIL = 2048
_UNSHOWABLE = re.compile("[\0\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that JSON may hold but its readers refuse: the record is to be the same text everywhere."""


class Output:
    """Pumps one pipe.  The log file is made at the first byte; what does not fit or can't be written is counted."""

    __slots__ = ("_dropped", "_error", "_file", "_limit", "_offset", "_path", "_tail", "_written", "reading", "writing")

    def __init__(self, path: str, limit: int) -> None:
        self.reading, self.writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reading, False)
        self._path, self._limit = path, limit
        self._file = -1
        self._offset = self._written = self._dropped = 0
        self._tail = b""
        self._error: str | None = None

    def pump(self) -> bool:
        """Move one pipeful at most, so that a chatty job can't keep its supervisor from its timeout; False: EOF."""
        try:
            data = os.read(self.reading, _CHUNK)
        except BlockingIOError:
            return True
        if data:
            self._tail = (self._tail + data)[-_TAIL:]
            kept = self._store(data)
            self._written += kept
            self._dropped += len(data) - kept
        return bool(data)

    def _store(self, data: bytes) -> int:
        try:
            if self._file < 0:
                self._file = self._open()
                self._offset = os.fstat(self._file).st_size
            room = self._limit - self._offset - self._written
            return os.write(self._file, data[:room]) if room > 0 else 0
        except OSError as error:
            self._error = f"{self._path}: {error.strerror}"
            return 0

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o640)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._path), 0o750, exist_ok=True)
            return os.open(self._path, flags, 0o640)

    def started(self) -> None:
        """The job has the pipe now: without our own writing end its last exit is our EOF."""
        os.close(self.writing)
        self.writing = -1

    def shut(self) -> None:
        """Close what is open."""
        for descriptor in (self.reading, self.writing, self._file):
            if descriptor >= 0:
                os.close(descriptor)
        self.reading = self.writing = self._file = -1

    def report(self) -> dict[str, Any]:
        """What the record says of this attempt's output (`tail` is cut at 2 KiB)."""
        said = {
            "file": self._path if self._written else None, "offset": self._offset, "bytes": self._written,
            "dropped": self._dropped, "tail": _UNSHOWABLE.sub("\ufffd", self._tail.decode(errors="replace")),
        }  # fmt: skip
        return said if self._error is None else {**said, "error": self._error}
