"""Calls etcd's JSON gateway over a connection to a member. If the member does not answer, the next member is used.

If an answer is lost, the call may have been carried out, so the caller must be able to repeat it.
https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence

from jobqueued.child.fleet.etcd.connection import Connection, Garbled, ResponseHead
from jobqueued.child.fleet.etcd.host_order import drawn_from
from jobqueued.child.fleet.etcd.namespace import named, nameless
from jobqueued.child.fleet.etcd.tls import Tls, TlsUnusable
from jobqueued.child.fleet.etcd.wire import Message

_UNAVAILABLE, _DEADLINE = 14, 4
"""gRPC codes after which the call goes to another member: https://grpc.io/docs/guides/status-codes/"""
_MOST = 8 << 20
"""Maximum size (bytes) of an answer, which is etcd's default."""
_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NONE: Mapping[str, str] = {}


class EtcdUnreachable(Exception):
    """No member answered; the message has each member's error."""


class Rejected(Exception):
    """A member refused the request. `code` is a gRPC code; the message is from etcd."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def nearest_first(members: Sequence[str], host: str) -> list[str]:
    """Return the members (`https://HOST:PORT`) in the order that a host calls them.

    Members on the host itself come first. The other members' order differs by host, to spread the load.
    """
    first = drawn_from(host) % len(members)
    turned = [*members[first:], *members[:first]]
    return sorted(turned, key=lambda member: _distance(_place(member)[1].lower(), host.lower()))


def _distance(member: str, host: str) -> int:
    if member == "localhost" or member.startswith("127.") or member == "::1":
        return 0
    return 1 if member == host else 2 if member.partition(".")[0] == host else 3


class Gateway:
    """A client of an etcd, for the keys of one `fleet`.

    The client uses a member (`https://HOST:PORT`) as long as the member answers. `timeout`: limit for each step (s).
    """

    def __init__(self, members: Sequence[str], timeout: float, tls: Tls | None = None, fleet: str = "fleet") -> None:
        self._members, self._timeout, self._tls, self._fleet = list(members), timeout, tls or Tls(), fleet
        self._connection: Connection | None = None
        self.ahead = 0.0
        """Seconds that this host's clock was ahead of the last answering member's clock."""
        self.made = 0
        """Number of connections so far. After a new connection, a different etcd may answer."""

    def call(self, path: str, message: Message) -> Message:
        """Call a method, as in ``call("kv/range", {"key": …})``. Raises EtcdUnreachable and Rejected."""
        connection, _ = self._asked(path, message)
        try:
            return _document(nameless(connection.read(_MOST), self._fleet))
        except (OSError, Garbled, ValueError) as error:
            raise self._left(f"its answer was cut off: {_words(error)}") from None

    def stream(self, path: str, message: Message, headers: Mapping[str, str] = _NONE) -> Iterator[Message]:
        """Call a method that answers with a stream. Each answer must arrive within the timeout.

        Raises EtcdUnreachable and Rejected.
        """
        connection, _ = self._asked(path, message, headers)
        while True:
            try:
                line = nameless(connection.readline(_MOST), self._fleet)
                document = _document(line) if line else {}
            except (OSError, Garbled, ValueError) as error:
                raise self._left(f"it stopped sending: {_words(error)}") from None
            if "result" not in document:
                raise self._left(f"it ended the stream: {_rejected(document)}" if document else "it ended the stream")
            yield document["result"]

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None

    def leave(self) -> None:
        """Use another member from now on."""
        self._left("")

    def _left(self, trouble: str) -> EtcdUnreachable:
        """Leave the member, so that another member is used next, and return the error."""
        member = self._members.pop(0)
        self._members.append(member)
        self.close()
        return EtcdUnreachable(f"{member}: {trouble}")

    def _asked(
        self, path: str, message: Message, headers: Mapping[str, str] = _NONE
    ) -> tuple[Connection, ResponseHead]:
        """Return the unread answer of the first member that answers. Members that failed move to the end."""
        troubles = list[str]()
        for member in list(self._members):
            try:
                answer = self._ask(member, path, message, headers)
                if answer[1].status == 200:
                    return answer
                rejected = _rejection(*answer)
                if rejected.code not in (_UNAVAILABLE, _DEADLINE):
                    raise rejected
                troubles.append(str(self._left(str(rejected))))
            except TlsUnusable as error:
                raise EtcdUnreachable(str(error)) from None
            except (OSError, Garbled, UnicodeError) as error:  # UnicodeError for an invalid host name
                troubles.append(str(self._left(self._trouble(member, error))))
        raise EtcdUnreachable("; ".join(troubles))

    def _ask(
        self, member: str, path: str, message: Message, headers: Mapping[str, str]
    ) -> tuple[Connection, ResponseHead]:
        if self._connection is not None and not self._connection.is_kept:
            self.close()
        is_kept, connection = self._connection is not None, self._connection or self._connected(member)
        self._connection = connection
        try:
            asked = time.time()
            head = connection.post(f"/v3/{path}", named(json.dumps(message).encode(), self._fleet), headers)
            self.ahead = _ahead(asked, head.date, time.time())
            return connection, head
        except (OSError, Garbled) as error:
            if not is_kept:
                raise _last_word(connection, error) from None
        self.close()  # the member closed the connection between two requests
        return self._ask(member, path, message, headers)

    def _trouble(self, member: str, error: Exception) -> str:
        """Describe why a member did not answer."""
        if isinstance(error, ssl.SSLError):
            return self._tls.words(error)
        if isinstance(error, ConnectionResetError | BrokenPipeError) and member.startswith("http:"):
            return "it closed the connection, or requires TLS"
        return _words(error)

    def _connected(self, member: str) -> Connection:
        scheme, host, port = _place(member)
        connection = Connection(host, port, self._timeout, self._tls.context() if scheme == "https" else None)
        self.made += 1
        return connection


def _place(member: str) -> tuple[str, str, int]:
    """Return the scheme, host and port of a URL."""
    scheme, _, where = member.partition("://")
    host, _, port = where.rpartition(":")
    return scheme, host.strip("[]"), int(port)


def _ahead(asked: float, date: str, answered: float) -> float:
    """Return the seconds that this clock is at least ahead of a clock in whole seconds (negative if behind)."""
    told = _second(date)
    return 0.0 if told is None else max(0.0, asked - (told + 1)) + min(0.0, answered - told)


def _second(date: str) -> int | None:
    """Return the second (UTC, since 1970) of an HTTP date, or None if it is invalid."""
    if (found := _DATE.fullmatch(date)) is None or found[2] not in _MONTHS:
        return None
    day, year, hours, minutes, seconds = (int(found[group]) for group in (1, 3, 4, 5, 6))
    month = (_MONTHS.index(found[2]) + 10) % 12  # counted from March, so that the leap day is the year's last day
    year -= month >= 10
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _last_word(connection: Connection, error: Exception) -> Exception:
    """Return the member's TLS alert if it closed the connection with one, or else return the given error.

    With TLS 1.3, a member checks our certificate after our side has already established the connection.
    """
    try:
        if isinstance(connection.socket, ssl.SSLSocket):
            connection.socket.recv(1)
    except OSError as alert:
        return alert
    return error


def _rejection(connection: Connection, head: ResponseHead) -> Rejected:
    """Return the error in an answer. Raises OSError and Garbled."""
    words = connection.read(_MOST)
    try:
        return _rejected(_document(words))
    except ValueError:  # a proxy answered, or the gateway is disabled
        return Rejected(
            -1, f"HTTP {head.status} {head.reason}: the reply is not JSON, so it is probably not etcd's gateway"
        )


def _document(data: bytes) -> Message:
    """Parse the gateway's answer. Raises ValueError for anything else."""
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("the reply is not from etcd's gateway")
    return document


def _rejected(document: Message) -> Rejected:
    """Return the error in a document; in a stream, it is nested."""
    error = document.get("error")
    error = error if isinstance(error, dict) else document
    codes = (error[name] for name in ("code", "grpc_code") if name in error)
    return Rejected(next(codes, -1), str(error.get("message", error)))


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
