"""Send a job's lines to journald with its native protocol, without waiting for journald.

Fields and framing: systemd.journal-fields(7) and https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. Lines are split as
journald splits a service's stdout: at newlines and after LINE_MAX bytes, with empty lines omitted.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping

from jobqueued.child.contract import unix_socket
from jobqueued.child.contract.documents import Journal
from jobqueued.child.report.budget import CommonBudget

LINE_MAX = 48 << 10
"""Maximum bytes in a line, like journald's LineMax."""
BURST_SECONDS = 10
"""A burst may contain the lines that `journal_rate` allows in this time (s)."""
OUTPUT_ID, UNSENT_ID = "0f5c3a86e2bd4c7196d1b24f7ae85d30", "9be1d7423c6f4f0aa85e60c1d4f3972b"
"""MESSAGE_IDs for output lines and for the line with the number of unsent lines."""

_KEPT = 1 << 20
"""Maximum bytes that are queued while journald is slower than the job."""
_HALF_LIFE = 20.0
_LONGEST_WAIT = 0.25
_CUT, _EOF = b"JOBQUEUE_LINE_BREAK=line-max\n", b"JOBQUEUE_LINE_BREAK=eof\n"
"""Fields with the same values as journald's field _LINE_BREAK."""
_SEND_BUFFER = 8 << 20
_SO_SNDBUFFORCE = 32
_INFO, _WARNING = 6, 4
_OVER_RATE, _OVER_COMMON, _NOT_TAKEN = "journal_rate", "all_runs", "journald"
_WORDS = {
    _OVER_RATE: "over its journal_rate",
    _OVER_COMMON: "over the limit of all runs together",
    _NOT_TAKEN: "not taken by journald",
}


def datagram(fields: Mapping[str, object]) -> bytes:
    """Return an entry with these fields.

    A value with a newline is sent with its length, so that it can't forge a field.
    """
    return b"".join(_field(name.encode(), str(value).encode(errors="replace")) for name, value in fields.items())


def _field(name: bytes, value: bytes) -> bytes:
    return _counted(name, value) if b"\n" in value else b"%b=%b\n" % (name, value)


def _counted(name: bytes, value: bytes) -> bytes:
    return b"".join((name, b"\n", len(value).to_bytes(8, "little"), value, b"\n"))


def _entry(fields: bytes, message: bytes) -> bytes:
    """Return an entry with encoded fields and a message. The message is always sent with its length."""
    return fields + _counted(b"MESSAGE", message)


class JournalStream:
    """Sends an attempt's output line by line within a budget, and counts unsent lines by reason."""

    def __init__(
        self,
        address: str,
        identity: dict[str, object],
        rate: int,
        common: CommonBudget,
        clock: Callable[[], float] = time.monotonic,
        user: str | None = None,
    ) -> None:
        """`user`: the name of the user who owns the job, or None."""
        self._user = user
        self._address, self._rate, self._common, self._clock = address, rate, common, clock
        self._identity = {**identity, "OBJECT_SYSTEMD_UNIT": "jobqueued.service"} if os.geteuid() == 0 else identity
        self._fields = b""
        """Encoded fields for each line, made for the first line, because most jobs print nothing."""
        self._rest = b""
        self._tokens, self._lately, self._looked = float(rate * BURST_SECONDS), 0.0, clock()
        self._sent = 0
        self._unsent: dict[str, int] = {}
        self._found = False
        self._socket: socket.socket | None = None
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._ended = False
        self._poll = select.epoll()
        self._watched: socket.socket | None = None

    def watch(self, pipe: int) -> int:
        """Return a descriptor that becomes readable when the pipe is readable, or when journald accepts lines again."""
        self._poll.register(pipe, select.EPOLLIN)
        return self._poll.fileno()

    def started(self, pid: int) -> None:
        """Set the PID of the process whose output is sent."""
        self._identity = {**self._identity, "SYSLOG_PID": pid, "JOBQUEUE_PID": pid}
        self._fields = b""

    def _headed(self, priority: int, event: str, message_id: str) -> bytes:
        """Return all fields except the message."""
        fields = {"PRIORITY": priority, "JOBQUEUE_EVENT": event, "MESSAGE_ID": message_id, **self._identity}
        return datagram(fields)

    def feed(self, data: bytes) -> None:
        """Add a piece of output. An incomplete last line waits until it is complete."""
        data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        self._offer(list(filter(None, lines)), b"", long=_may_be_long(data))
        if len(self._rest) > LINE_MAX:
            whole = (len(self._rest) - 1) // LINE_MAX * LINE_MAX
            head, self._rest = self._rest[:whole], self._rest[whole:]
            self._offer([head], _CUT, long=True)
        self._watch()

    def end(self, pipe: int) -> None:
        """Handle the end of the output. The last line may have no newline."""
        if not self._ended:
            self._ended = True
            self._poll.unregister(pipe)
            self._offer([self._rest] if self._rest else [], _EOF)
            self._watch()

    def flush(self) -> None:
        """Send waiting lines, as many as journald accepts."""
        while self._kept and self._put(self._kept[0]):
            self._kept_bytes -= len(self._kept.popleft())
        self._watch()

    @property
    def waiting(self) -> bool:
        """Return whether lines wait for journald."""
        return bool(self._kept)

    def report(self) -> Journal | None:
        """Return the record's `journal`, or None if journald is not used. Waiting lines count as unsent."""
        why = dict(self._unsent)
        if self._kept:
            why[_NOT_TAKEN] = why.get(_NOT_TAKEN, 0) + len(self._kept)
        unsent = sum(why.values())
        return {"lines": self._sent, "dropped": unsent, "why": why} if self._found or not unsent else None

    def close(self, kept: str) -> None:
        """Log the number of unsent lines and where the output is (`kept`), and disconnect from journald."""
        self._count(_NOT_TAKEN, len(self._kept))
        unsent = sum(self._unsent.values())
        if unsent and self._found and self._common.notes.take(1, 0):
            with contextlib.suppress(OSError):  # the record also has the number
                self._send_note(self._note(unsent, kept))
        self._disconnect()
        self._poll.close()

    def _note(self, unsent: int, kept: str) -> bytes:
        parts = [f"{count:,} {_WORDS[reason]}" for reason, count in self._unsent.items()]
        why = _WORDS[next(iter(self._unsent))] if len(parts) == 1 else ", ".join(parts)
        text = f"{unsent:,} {'line was' if unsent == 1 else 'lines were'} not sent to the journal ({why}); {kept}"
        return _entry(self._headed(_WARNING, "output_unsent", UNSENT_ID), os.fsencode(text))

    def _send_note(self, note: bytes) -> None:
        """Send the note. If journald is busy, wait a moment, because the job is over."""
        until, room = time.monotonic() + _LONGEST_WAIT, select.poll()
        while not self._try(note) and (left := until - time.monotonic()) > 0:
            room.register(self._connected(), select.POLLOUT)
            room.poll(left * 1000)

    # the budget

    def _offer(self, lines: list[bytes], end: bytes, *, long: bool = False) -> None:
        """Send as many of these lines as the budget allows; some may be `long`. `end`: how the last line ended.

        A long line counts as one more line for each KiB, so that a few lines can't fill the journal.
        """
        pieces = sum(-(-len(line) // LINE_MAX) for line in lines) if long else len(lines)
        granted = self._granted(pieces) if pieces else 0
        for line in lines:
            for start in range(0, len(line), LINE_MAX):
                if not granted:
                    return
                granted -= 1
                stop = start + LINE_MAX
                piece = line[start:stop]
                self._tokens -= 1 + len(piece) // 1024
                self._lately += 1
                self._send(piece, _CUT if stop < len(line) else end)

    def _granted(self, wanted: int) -> int:
        now = self._clock()
        passed, self._looked = now - self._looked, now
        self._tokens = min(self._rate * BURST_SECONDS, self._tokens + passed * self._rate)
        self._lately *= 0.5 ** (passed / _HALF_LIFE)
        affordable = max(0, min(wanted, int(self._tokens)))
        granted = self._taken(affordable) if affordable else 0
        self._count(_OVER_RATE, wanted - affordable)
        self._count(_OVER_COMMON, affordable - granted)
        return granted

    def _taken(self, wanted: int) -> int:
        if self._user is not None:
            wanted = self._common.of_users.take(wanted, self._lately, self._user)
        return self._common.lines.take(wanted, self._lately)

    def _count(self, reason: str, lines: int) -> None:
        if lines:
            self._unsent[reason] = self._unsent.get(reason, 0) + lines

    # the socket

    def _send(self, text: bytes, mark: bytes) -> None:
        self._fields = self._fields or self._headed(_INFO, "output", OUTPUT_ID)
        entry = _entry(self._fields + mark, text)
        if not self._kept and self._put(entry):
            return
        if self._kept_bytes + len(entry) > _KEPT:
            self._count(_NOT_TAKEN, 1)
            return
        self._kept.append(entry)
        self._kept_bytes += len(entry)

    def _put(self, entry: bytes) -> bool:
        """Send a line, or count it as lost, and return True. Return False if the line must wait."""
        try:
            taken = self._try(entry)
        except OSError:
            self._count(_NOT_TAKEN, 1)
            return True
        self._sent += taken
        return taken

    def _try(self, entry: bytes) -> bool:
        """Send an entry. Return False if journald's queue is full. Raises OSError if a reconnect fails."""
        reused = self._socket is not None
        try:
            self._connected().send(entry)
        except BlockingIOError:
            return False
        except OSError:
            self._disconnect()
            if reused:
                return self._try(entry)
            raise
        return True

    def _connected(self) -> socket.socket:
        if self._socket is None:
            sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                _connect(sender, self._address)
            except OSError:
                sender.close()
                raise
            self._socket, self._found = sender, True
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()  # closing also removes the socket from the poll
            self._socket = self._watched = None

    def _watch(self) -> None:
        """Watch journald's socket only while lines are waiting."""
        wanted = self._socket if self._kept else None
        if wanted is not self._watched:
            if self._watched is not None:
                self._poll.unregister(self._watched)
            if wanted is not None:
                self._poll.register(wanted, select.EPOLLOUT)
            self._watched = wanted


def _may_be_long(data: bytes) -> bool:
    """Return whether a line may exceed LINE_MAX. A fast search looks for half this length without a newline."""
    half = LINE_MAX // 2 or 1
    return any(data.find(b"\n", start, start + half) < 0 for start in range(0, len(data), half))


def _connect(sender: socket.socket, path: str) -> None:
    unix_socket.connect(sender, path)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    with contextlib.suppress(PermissionError):
        sender.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER)
