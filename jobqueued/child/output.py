"""The output of one attempt: from a pipe to the run's log file and to journald, capped, counted, holding nobody up."""

from __future__ import annotations

import os

from jobqueued.child import atomic_file, documents
from jobqueued.child.budget import Common
from jobqueued.child.documents import LaunchSpec
from jobqueued.child.journald import Stream
from jobqueued.child.json_values import showable
from jobqueued.child.text import size

_CHUNK = 1 << 16
_PART, _MOST_KEPT = 20, 4 << 30
"""By default a twentieth of a disk is kept free, and no more than these bytes."""
_OF_USERS = 2
"""Runs of users leave twice that much free, so that there is always some for the host's own jobs."""
TAIL = 2048
"""Bytes of output that the record has itself."""


class Output:
    """Pumps one pipe.  The log file is made at the first byte; what does not fit or can't be written is counted.

    `path` None: there is to be no file; `stream` None: no lines in the journal.  The tail is always kept.
    """

    __slots__ = (
        "_above", "_dropped", "_error", "_file", "_keep_free", "_limit", "_offset", "_path", "_pipe", "_reserves",
        "_stream", "_tail", "_written", "ended", "reading", "taken", "writing",
    )  # fmt: skip

    def __init__(
        self, path: str | None, limit: int, stream: Stream | None = None, keep_free: int | None = None,
        above: atomic_file.Kept | None = None, reserves: int = 1,
    ) -> None:  # fmt: skip
        """`limit`: bytes for the file; `keep_free`: those to be left on its disk, None: a part of it; `above`: where
        all logs are; `reserves`: how many times `keep_free` is left.
        """
        self._pipe, self.writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        self._path, self._limit, self._stream, self._keep_free = path, limit, stream, keep_free
        self._above, self._reserves = above, reserves
        self._file = -1
        self._offset = self._written = self._dropped = 0
        self._tail = b""
        self.taken = 0
        """The bytes that have come through the pipe."""
        self._error: str | None = None
        self.reading = self._pipe if stream is None else stream.watch(self._pipe)
        """Readable when there is something to pump."""
        self.ended = False
        """True once nobody has the pipe any more; journald may not yet have taken all of it."""

    @classmethod
    def of(cls, order: LaunchSpec, common: Common) -> Output:
        """The output of an attempt, to where its order says."""
        where, stream = order["output"], None
        if where in ("both", "journal"):
            job, run = order["record"]["job"], order["record"]["run"]
            identity = {
                "SYSLOG_IDENTIFIER": job, "JOBQUEUE_JOB": job, "JOBQUEUE_RUN": run,
                "JOBQUEUE_ATTEMPT": order["attempt"], **_owner(order),
            }  # fmt: skip
            stream = Stream(order["journal"], identity, order["journal_rate"], common, user=_user(order))
        path = f"{order['logs']}.log" if where in ("both", "file") else None
        reserves = _OF_USERS if order.get("above") else 1
        return cls(path, order["output_limit"], stream, order.get("keep_free"), order.get("log_directory"), reserves)

    def pump(self) -> bool:
        """Move one pipeful at most, so that a chatty job can't keep its supervisor from its timeout; False: the end."""
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
        """Move what is in the pipe now, as nobody writes to it."""
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
            while data:  # what of it has no room is told by the next try
                kept = os.write(self._file, data)
                self._written += kept
                data = data[kept:]
        except OSError as error:
            self._error = f"{path}: {error.strerror}"

    def _free(self, path: str, wanted: int) -> int:
        """The bytes that its disk has beyond what is to be kept free, as systemd-journald keeps it; OSError."""
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
        """The job has the pipe now: without our own writing end its last exit is our EOF."""
        os.close(self.writing)
        self.writing = -1
        if self._stream is not None:
            self._stream.started(pid)

    def shut(self) -> None:
        """Close what is open."""
        if self._stream is not None:
            self._stream.end(self._pipe)
            self._stream.close(self._where())
            self._stream = None
        for descriptor in (self._pipe, self.writing, self._file):
            if descriptor >= 0:
                os.close(descriptor)
        self._pipe = self.writing = self._file = -1

    def report(self, *, over: bool = True) -> documents.Output:
        """The `output` of this attempt's record (`tail` is cut at 2 KiB).  `over`: no more of it will come."""
        journal = None
        if self._stream is not None:
            if over:
                self._stream.end(self._pipe)
            journal = self._stream.report()
        said: documents.Output = {
            "file": self._path if self._written else None,
            "offset": self._offset, "bytes": self._written, "dropped": self._dropped,
            "tail": shown(self._tail), "journal": journal,
        }  # fmt: skip
        error = self._trouble()
        return said if error is None else {**said, "error": error}

    def losses(self) -> list[str]:
        """Return a warning for the record if any output so far was lost."""
        if self._dropped:
            return [f"{self._dropped} bytes of output dropped: {self._trouble() or 'output_limit reached'}"]
        return [f"output lost: {error}"] if (error := self._trouble()) else []

    def _trouble(self) -> str | None:
        if self._file >= 0 and not os.fstat(self._file).st_nlink:
            return f"{self._path}: removed while it was written"
        return self._error

    def _where(self) -> str:
        """The place of all of the output, in words."""
        if not self._written:
            return f"the record has the last {TAIL:,} bytes"
        return f"all of the output is in {self._path}" + (f", but {self._dropped:,} bytes" if self._dropped else "")


def kept_by_default(disk: os.statvfs_result) -> int:
    """The bytes that output leaves free on a disk, where no `keep_free` is set."""
    return min(disk.f_blocks * disk.f_frsize // _PART, _MOST_KEPT)


def shown(tail: bytes) -> str:
    """The end of an output as the record has it."""
    return showable(tail.decode(errors="replace"))


def _user(order: LaunchSpec) -> str | None:
    """The user who shares the lines of a run with the user's other runs; None if it is a run of the host."""
    return order["user"] if order.get("above") else None


def _owner(order: LaunchSpec) -> dict[str, object]:
    """The fields that tell whose job it is; of the host's there are none."""
    owner = order["record"].get("owner")
    return {} if owner is None else {"JOBQUEUE_OWNER": owner["name"], "JOBQUEUE_OWNER_UID": owner["uid"]}
