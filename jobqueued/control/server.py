"""The control socket: a varlink service for ``jobqueuectl`` and ``varlinkctl``.  Nobody can make the loop wait."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jobqueued.control.listener import Listener
from jobqueued.control.varlink import Decoder, MessageError, Method, Service, VarlinkError, encode
from jobqueued.model import Now
from jobqueued.source import Source

_CLIENTS = 256
_CLIENTS_OF_A_USER = 16
"""For users other than root and our own, so that nobody can keep the others out."""
_QUEUED = 64
"""Calls behind one that waits for its answer."""
_BACKLOG = 1 << 22
"""Unread replies (bytes) after which a client that gets one more is dropped; a single one may be longer."""


class Peer(NamedTuple):
    """The process on the other side, as the kernel says."""

    uid: int
    gids: frozenset[int]
    pid: int = 0

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """SO_PEERCRED and SO_PEERGROUPS of a connected Unix socket (unix(7))."""
        pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        groups = b""
        with contextlib.suppress(OSError):  # in more groups than Python can ask for: only the first counts
            groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
        return cls(uid, frozenset({gid, *struct.unpack(f"{len(groups) // 4}I", groups)}), pid)

    @property
    def name(self) -> str:
        """For the record; no look-up, which may hang."""
        return "root" if self.uid == 0 else f"uid {self.uid}"


_SO_PEERGROUPS = 59

Methods = Callable[[Peer, Callable[[], int]], Mapping[str, Method]]
"""The methods as this peer may call them; the second argument gives a ticket for an answer that comes later."""

TellBug = Callable[[str, Exception], str]
"""Tells that something could not be answered, and of which exception; where in the program, for who has asked."""


class _Client:
    __slots__ = ("connection", "decoder", "more", "name", "oneway", "outbox", "pending", "queue", "service", "uid")

    def __init__(self, connection: socket.socket, peer: Peer) -> None:
        self.connection, self.uid, self.name = connection, peer.uid, peer.name
        self.decoder = Decoder()
        self.service: Service
        self.outbox = b""
        self.queue: list[dict[str, Any]] = []
        self.pending: int | None = None
        self.more = self.oneway = False

    def is_to_be_read(self) -> bool:
        """True if it is to be read: not while there is enough to answer; its end is noticed while it waits."""
        return not self.queue or (self.pending is not None and len(self.queue) < _QUEUED)


class ControlServer(Source):
    """The clients of the listening socket.  A call that raises what is no answer costs that call: it is a bug."""

    def __init__(self, listener: Listener, methods: Methods, tell_bug: TellBug) -> None:
        self._listener, self._methods, self._tell_bug = listener, methods, tell_bug
        self._clients: dict[int, _Client] = {}
        self._tickets: dict[int, _Client] = {}
        self._last_ticket = 0

    def descriptors(self) -> dict[int, int]:
        """The clients that are to be read or written to, and the listener while there is room for more of them."""
        clients = self._clients.items()
        found = {
            number: select.POLLIN | (select.POLLOUT if client.outbox else 0)
            for number, client in clients
            if client.outbox or client.is_to_be_read()
        }
        return found | self._listener.descriptors(accepts=len(self._clients) < _CLIENTS)

    @property
    def deadline(self) -> int | None:
        """The time to look after the listener."""
        return self._listener.deadline

    @property
    def has_more(self) -> bool:
        """True if a call that came in can be answered at once."""
        return any(client.queue and client.pending is None for client in self._clients.values())

    def turn(self, now: Now) -> tuple[()]:
        """Give one answer to each client whose calls are queued: a turn of the loop stays short, whoever asks."""
        if self.deadline is not None and self.deadline <= now.mono:
            self._listener.look(now.mono)
        for client in list(self._clients.values()):
            if client.queue and client.pending is None:
                self._answer(client)
        return ()

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Take what came in, send what was left."""
        if descriptor in self._clients:
            self._exchange(self._clients[descriptor])
        elif (connection := self._listener.accept(descriptor, now.mono)) is not None:
            self._welcome(connection)
        return ()

    def stream(self, ticket: int, parameters: str) -> bool:
        """One answer of many to who asked for more of them, the only one to others; whether the caller still waits.

        Parameters come as JSON, as many may get the same.  One that has not read the last answer misses this one.
        """
        client = self._tickets.get(ticket)
        if client is None or not client.more or client.oneway:
            self._reply(ticket, f'{{"parameters":{parameters}}}\0'.encode())
            return False
        if not client.outbox:
            self._send(client, f'{{"parameters":{parameters},"continues":true}}\0'.encode())
        return ticket in self._tickets

    def reply(self, ticket: int, value: dict[str, Any], error: str | None = None) -> None:
        """Answer a call that had to wait; a caller that has left is fine."""
        try:
            message = encode({"parameters": value} if error is None else VarlinkError(error, value).reply())
        except Exception as bug:
            message = self._instead("a call that had to wait", bug)
        self._reply(ticket, message)

    def _reply(self, ticket: int, message: bytes) -> None:
        client = self._tickets.pop(ticket, None)
        if client is None or client.pending != ticket:
            return
        client.pending = None
        if not client.oneway:
            self._send(client, message)

    def close(self) -> None:
        """Hang up."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._listener.close()

    def _welcome(self, connection: socket.socket) -> None:
        try:
            peer = Peer.of(connection)
            client = _Client(connection, peer)
            client.service = Service(self._methods(peer, lambda: self._ticket(client)))
        except OSError:
            connection.close()
            return
        if peer.uid not in (0, os.geteuid()) and self._has(peer.uid) >= _CLIENTS_OF_A_USER:
            connection.close()
            return
        self._clients[connection.fileno()] = client

    def _has(self, uid: int) -> int:
        return sum(client.uid == uid for client in self._clients.values())

    def _ticket(self, client: _Client) -> int:
        self._last_ticket += 1
        self._tickets[self._last_ticket] = client
        client.pending = self._last_ticket
        return self._last_ticket

    def _exchange(self, client: _Client) -> None:
        self._send(client)
        if client.connection.fileno() < 0:
            return
        try:
            data = client.connection.recv(1 << 16)
            if not data:
                self._drop(client)
                return
            client.queue += client.decoder.feed(data)
        except BlockingIOError:
            return
        except (OSError, MessageError):
            self._drop(client)

    def _answer(self, client: _Client) -> None:
        """Calls of one connection are answered in order: the next waits until the one before has its answer."""
        call = client.queue.pop(0)
        client.oneway, client.more = call.get("oneway") is True, call.get("more") is True
        try:
            reply = client.service.answer(call)
            message = b"" if reply is None else encode(reply)
        except Exception as bug:
            if client.pending is not None:
                self._tickets.pop(client.pending, None)
                client.pending = None
            message = self._instead(f"a call of {client.name}, {call.get('method')}", bug)
            message = b"" if client.oneway else message
        if message:
            self._send(client, message)

    def _instead(self, what: str, bug: Exception) -> bytes:
        reason = f"a bug in jobqueued: {self._tell_bug(what, bug)}; see: journalctl -u jobqueued"
        return encode(VarlinkError("Refused", {"reason": reason}).reply())

    def _send(self, client: _Client, message: bytes = b"") -> None:
        unread = len(client.outbox)
        client.outbox += message
        try:
            client.outbox = client.outbox[client.connection.send(client.outbox) :] if client.outbox else b""
        except BlockingIOError:
            pass
        except OSError:  # it has left; nobody looks for its end of file while calls of it are queued
            self._drop(client)
            return
        if message and unread > _BACKLOG:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client.connection.fileno(), None)
        client.queue, client.outbox = [], b""
        if client.pending is not None:
            self._tickets.pop(client.pending, None)
        client.connection.close()
