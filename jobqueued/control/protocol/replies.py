"""Replies that come later: a ticket identifies each waiting call and its caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from jobqueued.control.protocol.varlink import VarlinkError, encode

TellBug = Callable[[str, Exception], str]
"""Logs an exception with a description of the failed work, and returns its place in the code, for the caller."""
Reply = Callable[[int, dict[str, Any], str | None], None]
"""Sends a reply, or an error with its parameters, to the caller with a ticket."""


class Caller(Protocol):
    """A connection with a call under way. `pending`: the ticket of the call. `more`, `oneway`: varlink's flags."""

    pending: int | None
    more: bool
    oneway: bool

    @property
    def has_read_all(self) -> bool:
        """True if no reply waits to be sent."""

    def send(self, message: bytes) -> None:
        """Send a whole message, and disconnect a caller that left."""

    def finish(self) -> None:
        """Record that the last reply to the call was sent."""


class Replies:
    """Sends replies to callers by ticket. `see_log`: the command that shows the log."""

    def __init__(self, tell_bug: TellBug, see_log: str) -> None:
        self._tell_bug, self._see_log = tell_bug, see_log
        self._callers: dict[int, Caller] = {}
        self._last = 0

    def ticket(self, caller: Caller) -> int:
        """Return a new ticket for the call of this caller."""
        self._last += 1
        self._callers[self._last] = caller
        return self._last

    def forget(self, ticket: int) -> bool:
        """Forget a ticket, and return whether its caller was waiting."""
        return self._callers.pop(ticket, None) is not None

    def stream(self, ticket: int, parameters: str) -> bool:
        """Send a reply of a stream. Return whether the caller waits for more replies.

        `parameters` is JSON text, which many callers may share. A caller that has not read the previous reply does not
        get this reply.
        """
        caller = self._callers.get(ticket)
        if caller is None or not caller.more or caller.oneway:
            self.send(ticket, f'{{"parameters":{parameters}}}\0'.encode())
            return False
        if caller.has_read_all:
            caller.send(f'{{"parameters":{parameters},"continues":true}}\0'.encode())
        return ticket in self._callers

    def takes(self, ticket: int) -> bool:
        """Return whether the caller waits for more replies and has read the previous reply."""
        caller = self._callers.get(ticket)
        return caller is not None and caller.has_read_all

    def reply(self, ticket: int, value: dict[str, Any], error: str | None = None) -> None:
        """Send the reply to a waiting call. Do nothing if the caller left."""
        try:
            message = encode({"parameters": value} if error is None else VarlinkError(error, value).reply())
        except Exception as bug:
            self.stumble(ticket, bug)
        else:
            self.send(ticket, message)

    def stumble(self, ticket: int, bug: Exception) -> None:
        """Log a bug, and reply to the waiting call with an error."""
        self.send(ticket, self.refusal("a call that had to wait", bug))

    def send(self, ticket: int, message: bytes) -> None:
        """Send a whole message to a waiting call."""
        caller = self._callers.get(ticket)
        if caller is None or caller.pending != ticket:
            return
        if not caller.oneway:
            caller.send(message)  # this fails silently if the caller left
        self._callers.pop(ticket, None)
        caller.finish()

    def refusal(self, what: str, bug: Exception) -> bytes:
        """Log a bug that prevented a reply, and return the error to send instead."""
        reason = f"a bug in jobqueued: {self._tell_bug(what, bug)}; {self._see_log}"
        return encode(VarlinkError("Refused", {"reason": reason}).reply())
