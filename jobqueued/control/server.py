"""The control socket: a varlink service for ``jobqueuectl`` and ``varlinkctl``. No client can block the loop.

Operators, readers and strangers have separate connection limits; root gets the remaining connections. In each turn, the
daemon serves one stranger and all callers of other ranks. Strangers without a name on this host count as one user and
come last, so a user with many UIDs (subuid(5)) can't keep others out.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Container, Mapping
from typing import Any, Protocol

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.listener import Listener
from jobqueued.control.protocol.access import Rank
from jobqueued.control.protocol.identities import Identities
from jobqueued.control.protocol.interface import NAME
from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.replies import Replies
from jobqueued.control.protocol.varlink import Decoder, Message, MessageError, Method, Service, VarlinkError, encode
from jobqueued.host.descriptors import is_spare, most
from jobqueued.model.job import Now
from jobqueued.model.source import Source
from jobqueued.model.users import Owner


class ConnectionPlaces(NamedTuple):
    """Maximum connections of a rank: in total and for each user."""

    in_all: int
    of_a_user: int


PLACES = {
    Rank.STRANGER: ConnectionPlaces(32, 4),
    Rank.READER: ConnectionPlaces(64, 16),
    Rank.OPERATOR: ConnectionPlaces(128, 64),
}
WAITING = ConnectionPlaces(64, 32)
"""Additional connections for callers that only wait, for example for the end of a run."""
CLIENTS = 320
"""Maximum total connections. Connections beyond the ranks' limits are reserved for root and the daemon's own user."""
_NAMELESS = -1
"""Stands for all strangers without a name, which share the limit of one user."""
IDLE = 10 * SECOND
"""Time (ns) after which an idle stranger is disconnected."""
_ACCEPTED = 16
"""Maximum number of connections accepted in a turn, so that a caller waits few turns even after many refused
callers.
"""
_QUEUED = 64
"""Maximum calls queued while an earlier call of the client waits for its reply."""
_BACKLOG = 1 << 22
"""Unread replies per client (bytes) above which no further call is answered. A single reply may be longer."""
_SENT = 1 << 18
"""Maximum bytes sent to a client in a turn."""


class Methods(Protocol):
    """The methods that callers may call."""

    @property
    def waiting(self) -> Container[str]:
        """The names of the methods whose callers may use a connection of WAITING."""

    def of(self, peer: Peer, ticket: Callable[[], int]) -> Mapping[str, Method]:
        """Return the methods for a peer; `ticket` returns a number for a reply that comes later."""

    def left(self, ticket: int) -> None:
        """Forget a caller that left before its reply."""


class _Client:
    """A client's connection. `since`: time (CLOCK_MONOTONIC, ns) when the client was accepted or its last call was
    answered.

    `drop` disconnects a client to which a message can't be sent.
    """

    __slots__ = (
        "_drop",
        "connection",
        "counts_as",
        "decoder",
        "more",
        "oneway",
        "outbox",
        "peer",
        "pending",
        "queue",
        "rank",
        "service",
        "since",
        "unread",
        "waits",
    )

    def __init__(
        self,
        connection: socket.socket,
        peer: Peer,
        rank: Rank,
        since: int,
        drop: Callable[[_Client], None],
        *,
        has_name: bool,
    ) -> None:
        self.connection, self.peer, self.rank, self.since, self._drop = connection, peer, rank, since, drop
        self.counts_as = peer.uid if has_name or rank is not Rank.STRANGER else _NAMELESS
        """The UID whose limit this connection counts toward."""
        self.decoder = Decoder()
        self.service: Service | None = None
        """None until the caller's identity is known."""
        self.outbox = deque[memoryview]()
        self.unread = 0
        self.queue: list[dict[str, Any]] = []
        self.pending: int | None = None
        self.more = self.oneway = False
        self.waits = False
        """True while this connection counts toward WAITING."""

    @property
    def is_stranger(self) -> bool:
        """Return whether the client has the rank STRANGER, which is served last."""
        return self.rank is Rank.STRANGER

    @property
    def comes_last(self) -> bool:
        """Return whether the client is a stranger without a name, who is served after other strangers."""
        return self.counts_as == _NAMELESS

    @property
    def is_idle(self) -> bool:
        """Return whether the client waits for no reply, does not read its replies, or has no known identity."""
        return self.service is None or (self.pending is None and not (self.queue and not self.outbox))

    @property
    def is_to_be_answered(self) -> bool:
        """Return whether the next call can be answered now.

        A stranger must first read all replies; other clients must have read most of their replies.
        """
        takes = not self.outbox if self.is_stranger else self.unread <= _BACKLOG
        return bool(self.queue) and self.pending is None and takes and self.service is not None

    @property
    def is_to_be_read(self) -> bool:
        """Return whether to read from the client: if no call is queued, or to notice a hang-up while a call waits."""
        return not self.queue or (self.pending is not None and len(self.queue) < _QUEUED)

    @property
    def has_read_all(self) -> bool:
        """Return whether no reply waits to be sent."""
        return not self.outbox

    def finish(self) -> None:
        """Record that the last reply to the call was sent."""
        self.pending, self.waits = None, False

    def send(self, message: bytes = b"") -> None:
        """Send a message after the queued ones. Drop a client that left."""
        if message:
            self.put(message)
        try:
            self.flush()
        except OSError:  # the client left; no read reports this while calls are queued
            self._drop(self)

    def put(self, message: bytes) -> None:
        """Queue a message, whose bytes many clients may share."""
        self.outbox.append(memoryview(message))
        self.unread += len(message)

    def flush(self) -> None:
        """Send as much as the socket accepts now. Raises OSError."""
        rest = _SENT
        while self.outbox and rest > 0:
            try:
                sent = self.connection.send(self.outbox[0][:rest])
            except BlockingIOError:
                return
            self.unread, rest = self.unread - sent, rest - sent
            self.outbox[0] = self.outbox[0][sent:]
            if not self.outbox[0]:
                self.outbox.popleft()


class ControlServer(Source):
    """The clients of the listening sockets. A bug in a call fails only this call."""

    def __init__(
        self,
        listener: Listener,
        methods: Methods,
        replies: Replies,
        rank: Callable[[Peer], Rank],
        identities: Identities,
    ) -> None:
        self._listener, self._methods, self._replies, self._rank = listener, methods, replies, rank
        self._identities = identities
        self._clients: dict[int, _Client] = {}
        """Descriptor → client. A stranger moves to the end when it is served."""
        self._heard = -1
        """Time (CLOCK_MONOTONIC, ns) of the turn in which data from a stranger was last read."""

    def descriptors(self) -> dict[int, int]:
        """Return the descriptors of clients to read from or write to, and of the listener if more clients fit."""
        clients = sorted(self._clients.items(), key=lambda it: it[1].comes_last)
        found = {
            number: (select.POLLIN if client.is_to_be_read else 0) | (select.POLLOUT if client.outbox else 0)
            for number, client in clients
            if client.outbox or client.is_to_be_read
        }
        return found | self._listener.descriptors(accepts=len(self._clients) < CLIENTS)

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) to check the listener or to disconnect a stranger, or None if neither is
        due.
        """
        times = [client.since + IDLE for client in self._strangers() if client.is_idle]
        return min([*times, *([] if self._listener.deadline is None else [self._listener.deadline])], default=None)

    @property
    def troubles(self) -> list[str]:
        """The reason why users can't connect, if any."""
        return [self._listener.trouble] if self._listener.trouble else []

    @property
    def has_more(self) -> bool:
        """Return whether a queued call can be answered now."""
        return any(client.is_to_be_answered for client in self._clients.values())

    def turn(self, now: Now) -> tuple[()]:
        """Answer one call from each client, but only from one stranger, so that the turn remains short."""
        if self._listener.deadline is not None and self._listener.deadline <= now.mono:
            self._listener.look(now.mono)
        for client in self._strangers():
            if client.is_idle and client.since + IDLE <= now.mono:
                self._drop(client)
        asking = [client for client in self._clients.values() if client.is_to_be_answered]
        strangers = sorted((it for it in asking if it.is_stranger), key=lambda it: it.comes_last)
        for client in [*(client for client in asking if not client.is_stranger), *strangers[:1]]:
            self._answer(client, now)
        return ()

    def _strangers(self) -> list[_Client]:
        return [client for client in self._clients.values() if client.is_stranger]

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Read from a client and send more of its replies, or accept connections."""
        if descriptor in self._clients:
            self._exchange(self._clients[descriptor], now)
            return ()
        for _ in range(min(_ACCEPTED, CLIENTS - len(self._clients))):
            connection = self._listener.accept(descriptor, now.mono)
            if connection is None:
                break
            self._welcome(connection, now)
        return ()

    def close(self) -> None:
        """Disconnect all clients and stop listening."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._listener.close()

    def _welcome(self, connection: socket.socket, now: Now) -> None:
        try:
            peer = Peer.of(connection)
        except OSError:
            connection.close()
            return
        has_name = self._identities.has_name(peer.uid)
        client = _Client(connection, peer, self._rank(peer), now.mono, self._drop, has_name=has_name)
        if (reason := self._full(client)) is None:
            if client.rank >= Rank.OPERATOR:
                client.peer = peer.followed(connection, is_spare)
            self._clients[connection.fileno()] = client
            self._identities.look_up(peer.uid, lambda owner: self._serve(client, owner))
            if client.service is None and client.rank >= Rank.OPERATOR:  # no look-up: a database may hang
                self._serve(client, None)
            return
        client.put(encode(VarlinkError("Busy", {"reason": reason}).reply()))
        with contextlib.suppress(OSError):
            client.flush()
        connection.close()

    def _serve(self, client: _Client, owner: Owner | None) -> None:
        """Start to answer a client whose identity is known. Do nothing if the client left."""
        if client.connection.fileno() < 0:
            return
        client.peer = client.peer._replace(owner=owner)
        client.counts_as = client.counts_as if owner is None else client.peer.uid
        client.service = Service(self._methods.of(client.peer, lambda: self._ticket(client)))

    def _full(self, client: _Client) -> str | None:
        """Return the reason why a client must be refused, or None if a connection is free."""
        if client.rank is Rank.ROOT:
            return None
        places = PLACES[client.rank]
        counted = [it.counts_as for it in self._clients.values() if it.rank is client.rank and not it.waits]
        if counted.count(client.counts_as) >= places.of_a_user:
            if client.comes_last:
                return f"users without a name on this host have {places.of_a_user} connections already; try again later"
            return f"{client.peer.name} has {places.of_a_user} connections already; close some"
        few = client.is_stranger and client.connection.fileno() >= most() // 2
        return "too many connections; try again later" if few or len(counted) >= places.in_all else None

    def _may_wait(self, client: _Client) -> bool:
        """Return whether the client's connection still fits in WAITING."""
        counted = [it.counts_as for it in self._clients.values() if it.waits and it is not client]
        return len(counted) < WAITING.in_all and counted.count(client.counts_as) < WAITING.of_a_user

    def _ticket(self, client: _Client) -> int:
        client.pending = ticket = self._replies.ticket(client)
        return ticket

    def _exchange(self, client: _Client, now: Now) -> None:
        client.send()
        if client.connection.fileno() < 0 or not client.is_to_be_read:
            return
        if client.is_stranger:
            if self._heard == now.mono:  # one stranger in a turn; poll(2) will report the other strangers once more
                return
            self._heard = now.mono
            self._clients[client.connection.fileno()] = self._clients.pop(client.connection.fileno())
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

    def _answer(self, client: _Client, now: Now) -> None:
        """Answer the next call of a client."""
        call, client.since = client.queue.pop(0), now.mono
        client.oneway, client.more = call.get("oneway") is True, call.get("more") is True
        if client.is_stranger:
            self._clients[client.connection.fileno()] = self._clients.pop(client.connection.fileno())
        try:
            reply = client.service.answer(call) if client.service is not None else None
            message = b"" if reply is None else encode(reply)
        except Exception as bug:
            if client.pending is not None:
                self._replies.forget(client.pending)
                client.pending = None
            message = self._replies.refusal(f"a call of {client.peer.name}, {call.get('method')}", bug)
            message = b"" if client.oneway else message
        client.waits = client.pending is not None and self._waits(call) and self._may_wait(client)
        if message:
            client.send(message)

    def _waits(self, call: Message) -> bool:
        """Return whether a caller of this method may use a connection of WAITING."""
        return str(call.get("method")).removeprefix(f"{NAME}.") in self._methods.waiting

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client.connection.fileno(), None)
        client.queue, client.unread = [], 0
        client.service = None  # breaks a cycle: frozen objects (daemon/daemon.py) are not collected
        client.outbox.clear()
        client.connection.close()
        if client.peer.process >= 0:
            os.close(client.peer.process)
        if client.pending is not None and self._replies.forget(client.pending):
            self._methods.left(client.pending)
