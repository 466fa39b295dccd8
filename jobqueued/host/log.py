"""The daemon's log: one vocabulary, in three formats (journald's fields, JSON lines, or plain text for people)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO, cast

import structlog
from structlog.processors import JSONRenderer, TimeStamper, add_log_level

from jobqueued.base.text import printable, reaching
from jobqueued.child.contract import unix_socket
from jobqueued.child.contract.instants import FORMAT
from jobqueued.child.report import journald
from jobqueued.host.messages import VOCABULARY, Fields, job_of, level_of, run_of, state_of

_JOURNAL, _SYSLOG = unix_socket.JOURNALD, "/dev/log"
_DAEMON = 3 << 3
"""The facility "daemon" of syslog."""
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


class Log:
    """The daemon's log in one format.  `say` never raises, because a dead journald must not stop the daemon."""

    def __init__(self, dress: str = "auto", ctl: str = "jobqueuectl") -> None:
        """Log in the format `dress`. `ctl`: the jobqueuectl command that reaches this daemon, for remedies."""
        if dress == "auto":
            dress = "journal" if _stderr_is_journal() else "text" if sys.stderr.isatty() else "json"
        self._logger = structlog.wrap_logger(
            structlog.WriteLogger(cast("TextIO", _Stderr())),
            processors=[add_log_level, partial(_add_message, ctl), *_DRESSES[dress]],
            wrapper_class=structlog.BoundLogger,
            time=None,  # this makes it the first field; TimeStamper sets the value
        ).bind()  # without bind, each line would create a logger that only the garbage collector can remove
        self._listeners: list[Callable[[str, Fields], object]] = []

    def listen(self, hear: Callable[[str, Fields], object]) -> None:
        """Add a function that also receives each line."""
        self._listeners.append(hear)

    def say(self, event: str, **fields: Any) -> None:
        """Log one line; `event` is one of VOCABULARY."""
        for hear in self._listeners:
            hear(event, fields)
        getattr(self._logger, level_of(event, fields))(event, **fields)


_PIECE = 1024
"""Number of characters that a writable pipe accepts at once; in bytes, this is at most PIPE_BUF."""


class _Stderr:
    """The current standard error; `detach` may replace it.

    If no process reads the output, lines are dropped; the records have the same facts. A line that was written only in
    part is ended before the next line.
    """

    def __init__(self) -> None:
        self._is_torn = False

    def write(self, text: str) -> None:
        text = f"\n{text}" if self._is_torn else text
        with contextlib.suppress(OSError):
            for start in range(0, len(text), _PIECE):
                if not _takes(sys.stderr):
                    return
                self._is_torn = True
                sys.stderr.write(text[start : start + _PIECE])
                sys.stderr.flush()
            self._is_torn = False

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def _takes(stream: TextIO) -> bool:
    """Return whether a write would not block, because an idle reader of a pipe or socket must not stop the loop."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # the stream is not a file
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _stderr_is_journal() -> bool:
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return stat.S_ISSOCK(status.st_mode) and (device, inode) == (str(status.st_dev), str(status.st_ino))


def _add_message(ctl: str, _logger: object, _method: str, fields: Fields) -> Fields:
    """Add the vocabulary's text to a line's fields."""
    text = VOCABULARY[fields["event"]].text(fields)
    fields["message"] = printable(reaching(text, ctl))
    return fields


def _to_text(_logger: object, _method: str, fields: Fields) -> str:
    return f"{fields['time']} {fields['message']}"


def _to_journald(_logger: object, _method: str, fields: Fields) -> Fields:
    """Send a line to journald, or to /dev/log in syslog(3)'s format; if both fail, pass it to the next processor."""
    if _sent(_JOURNAL, journald.datagram(_journal_fields(fields))) or _sent(_SYSLOG, _syslog_line(fields)):
        raise structlog.DropEvent
    return fields


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=str).encode
_TEXT = [TimeStamper("%H:%M:%S", utc=False, key="time"), _to_text]
_JSON = [
    TimeStamper(FORMAT, key="time"),  # the format "iso" would omit microseconds that are 0
    JSONRenderer(lambda fields, **_: _encode(fields)),
]
_DRESSES: dict[str, list[Any]] = {"text": _TEXT, "json": _JSON, "journal": [_to_journald, *_JSON]}
"""Format → structlog's processors that convert a line's fields to its text."""


def somebody_listens() -> bool:
    """Return whether journald or a syslogd is running."""
    return os.path.exists(_JOURNAL) or os.path.exists(_SYSLOG)


def _sent(address: str, datagram: bytes) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(datagram, socket.MSG_DONTWAIT, address)
    except BlockingIOError:
        pass  # a busy journald must not stop the loop; the records have the same facts
    except OSError:
        return False
    return True


def _syslog_line(fields: Fields) -> bytes:
    priority = _DAEMON | _PRIORITY[fields["level"]]
    now = time.strftime("%b %e %H:%M:%S", time.localtime(time.time()))
    return f"<{priority}>{now} jobqueued[{os.getpid()}]: {fields['message']}".encode(errors="replace")


def _journal_fields(fields: Fields) -> dict[str, object]:
    event, record = fields["event"], fields.get("record", {})
    said: dict[str, Any] = {
        "MESSAGE": fields["message"],
        "PRIORITY": _PRIORITY[fields["level"]],
        "SYSLOG_IDENTIFIER": "jobqueued",
        "MESSAGE_ID": VOCABULARY[event].id,
        "JOBQUEUE_EVENT": event,
        "JOBQUEUE_RUN": run_of(fields),
        "JOBQUEUE_JOB": job_of(fields),
        "JOBQUEUE_STATE": state_of(event, fields),
        "JOBQUEUE_EXIT_CODE": record.get("exit_code"),
        "JOBQUEUE_SIGNAL": record.get("signal"),
        "JOBQUEUE_REASON": fields.get("reason") or record.get("reason"),
        "JOBQUEUE_PID": fields.get("pid") or record.get("pid"),
        "JOBQUEUE_FILE": fields.get("file"),
        "JOBQUEUE_CODE": fields.get("code"),
    }
    return {name: value for name, value in said.items() if value is not None}
