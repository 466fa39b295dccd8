"""Moves an attempt's output from a pipe to a log file and journald, with limits and counts, and without blocking."""

from __future__ import annotations

import os

from jobqueued.child.contract import atomic_file, documents
from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.contract.json_values import showable
from jobqueued.child.contract.text import size
from jobqueued.child.report.budget import CommonBudget
from jobqueued.child.report.journald import JournalStream

_CHUNK = 1 << 16
_PART, _MOST_KEPT = 20, 4 << 30
"""By default, output leaves 1/`_PART` of a disk free, up to `_MOST_KEPT` bytes."""
_OF_USERS = 2
"""Users' runs leave this many times as much space free, so that the host's own jobs always have some."""
TAIL = 2048
"""Maximum output (bytes) in the record itself."""


class OutputPump:
    """Pumps a pipe. The log file is made at the first byte. Bytes that do not fit or can't be written are counted.

    Without `path`, no file is written. Without `stream`, no line goes to the journal. The tail is always saved.
    """

    __slots__ = (
        "_above", "_dropped", "_error", "_file", "_keep_free", "_limit", "_offset", "_path", "_pipe", "_reserves",
        "_stream", "_tail", "_written", "ended", "reading", "taken", "writing",
    )  # fmt: skip

    def __init__(
        self,
        path: str | None,
        limit: int,
        stream: JournalStream | None = None,
        keep_free: int | None = None,
        above: atomic_file.Kept | None = None,
        reserves: int = 1,
    ) -> None:
        """`limit`: maximum bytes of the file. `above`: the directory of all logs.

        `keep_free`: bytes to leave free on its disk; None means the default. `reserves`: factor for `keep_free`.
        """
        self._pipe, self.writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        self._path, self._limit, self._stream, self._keep_free = path, limit, stream, keep_free
        self._above, self._reserves = above, reserves
        self._file = -1
        self._offset = self._written = self._dropped = 0
        self._tail = b""
        self.taken = 0
        """Number of bytes read from the pipe."""
        self._error: str | None = None
        self.reading = self._pipe if stream is None else stream.watch(self._pipe)
        """A descriptor that is readable when `pump` has work."""
        self.ended = False
        """True after all writers closed the pipe. Lines may still wait for journald."""

    @classmethod
    def of(cls, order: LaunchSpec, common: CommonBudget) -> OutputPump:
        """Return the pump for an attempt's output, with the targets in its launch spec."""
        where, stream = order["output"], None
        if where in ("both", "journal"):
            job, run = order["record"]["job"], order["record"]["run"]
            identity = {
                "SYSLOG_IDENTIFIER": job,
                "JOBQUEUE_JOB": job,
                "JOBQUEUE_RUN": run,
                "JOBQUEUE_ATTEMPT": order["attempt"],
                **_owner(order),
            }
            stream = JournalStream(order["journal"], identity, order["journal_rate"], common, user=_user(order))
        path = f"{order['logs']}.log" if where in ("both", "file") else None
        reserves = _OF_USERS if order.get("above") else 1
        return cls(path, order["output_limit"], stream, order.get("keep_free"), order.get("log_directory"), reserves)

    def pump(self) -> bool:
        """Move at most the pipe's capacity, so that a lot of output can't delay the timeout.

        Return False at the end.
        """
        if self._stream is not None:
            self._stream.flush()
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return True
        if data:
            self._take(data)
            return True
        self.ended = True
        if self._stream is None:
            return False
        self._stream.end(self._pipe)
        return self._stream.waiting

    def pump_all(self) -> None:
        """Move everything in the pipe, which no process writes to now."""
        before = -1
        while before != self.taken:
            before = self.taken
            self.pump()

    def _take(self, data: bytes) -> None:
        self.taken += len(data)
        self._tail = (self._tail + data[-TAIL:])[-TAIL:]
        if self._path is not None:
            before = self._written
            self._store(self._path, data)
            self._dropped += len(data) - (self._written - before)
        if self._stream is not None:
            self._stream.feed(data)

    def _store(self, path: str, data: bytes) -> None:
        try:
            if self._file < 0:
                self._file = atomic_file.opened(path, os.O_APPEND, self._above)
                self._offset = os.fstat(self._file).st_size
            room = self._limit - self._offset - self._written
            data = data[: max(0, min(room, self._free(path, min(room, len(data)))))]
            while data:  # if not everything fits, the next write raises the error
                kept = os.write(self._file, data)
                self._written += kept
                data = data[kept:]
        except OSError as error:
            self._error = f"{path}: {error.strerror}"

    def _free(self, path: str, wanted: int) -> int:
        """Return the usable bytes on the file's disk, minus the bytes to keep free, like systemd-journald.

        Raises OSError.
        """
        kept = self._keep_free
        if kept == 0:
            return wanted
        disk = os.fstatvfs(self._file)
        if kept is None:
            kept = kept_by_default(disk)
        kept *= self._reserves
        free = disk.f_bavail * disk.f_frsize - kept
        if max(0, free) < wanted:
            self._error = f"{path}: its disk has no more than {size(kept)} left (keep_free in jobqueued.yaml)"
        return free

    def started(self, pid: int) -> None:
        """Close our writing end, so that the output ends when the last of the job's processes exits."""
        os.close(self.writing)
        self.writing = -1
        if self._stream is not None:
            self._stream.started(pid)

    def shut(self) -> None:
        """Close all descriptors."""
        if self._stream is not None:
            self._stream.end(self._pipe)
            self._stream.close(self._where())
            self._stream = None
        for descriptor in (self._pipe, self.writing, self._file):
            if descriptor >= 0:
                os.close(descriptor)
        self._pipe = self.writing = self._file = -1

    def report(self, *, over: bool = True) -> documents.OutputPlaces:
        """Return the `output` for the attempt's record. `tail` has the last 2 KiB. `over`: the output ended."""
        journal = None
        if self._stream is not None:
            if over:
                self._stream.end(self._pipe)
            journal = self._stream.report()
        said: documents.OutputPlaces = {
            "file": self._path if self._written else None,
            "offset": self._offset,
            "bytes": self._written,
            "dropped": self._dropped,
            "tail": shown(self._tail),
            "journal": journal,
        }
        error = self._trouble()
        return said if error is None else {**said, "error": error}

    def losses(self) -> list[str]:
        """Return a warning for the record if output was lost so far, or []."""
        if self._dropped:
            return [f"{self._dropped} bytes of output dropped: {self._trouble() or 'output_limit reached'}"]
        return [f"output lost: {error}"] if (error := self._trouble()) else []

    def _trouble(self) -> str | None:
        if self._file >= 0 and not os.fstat(self._file).st_nlink:
            return f"{self._path}: removed while it was written"
        return self._error

    def _where(self) -> str:
        """Describe where the whole output is."""
        if not self._written:
            return f"the record contains the last {TAIL:,} bytes"
        return f"all of the output is in {self._path}" + (f", but {self._dropped:,} bytes" if self._dropped else "")


def kept_by_default(disk: os.statvfs_result) -> int:
    """Return the bytes that output leaves free on a disk if `keep_free` is not set."""
    return min(disk.f_blocks * disk.f_frsize // _PART, _MOST_KEPT)


def shown(tail: bytes) -> str:
    """Return the end of an output as text for the record."""
    return showable(tail.decode(errors="replace"))


def _user(order: LaunchSpec) -> str | None:
    """Return the user whose runs share a line budget with this run, or None for the host's runs."""
    return order["user"] if order.get("above") else None


def _owner(order: LaunchSpec) -> dict[str, object]:
    """Return the fields with the job's owner, or {} for the host's jobs."""
    owner = order["record"].get("owner")
    return {} if owner is None else {"JOBQUEUE_OWNER": owner["name"], "JOBQUEUE_OWNER_UID": owner["uid"]}
