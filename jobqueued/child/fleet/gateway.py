"""The calls of etcd's JSON gateway, over one connection to one of its members; where one does not answer, the next is
asked.

A call may have been carried out though its answer is lost: whoever calls has to be able to ask again.
https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from jobqueued.child.fleet.tls import Tls, Unusable
from jobqueued.child.fleet.wire import Message

_UNAVAILABLE, _DEADLINE = 14, 4
"""gRPC's codes of what another member may answer: https://grpc.io/docs/guides/status-codes/"""
_PORT = 2379
_MOST = 8 << 20
"""The bytes of an answer that are read: etcd sends no larger ones by default."""
_NONE: Mapping[str, str] = {}


class Unreachable(Exception):
    """No member has answered; the message has what each of them came to."""


class Rejected(Exception):
    """A member has answered that it does not do it: gRPC's `code`, and etcd's words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Gateway:
    """The members of one etcd (`https://HOST:PORT`); one is asked as long as it answers.  `timeout`: of a step (s)."""

    def __init__(self, members: Sequence[str], timeout: float, tls: Tls | None = None) -> None:
        self._members, self._timeout, self._tls = list(members), timeout, tls or Tls()
        self._connection: HTTPConnection | None = None
        self.ahead = 0.0
        """Seconds by which the clock of this host was ahead of that of the member that has answered last."""

    def call(self, path: str, message: Message) -> Message:
        """Ask for one answer: ``call("kv/range", {"key": …})``; Unreachable, Rejected."""
        answer = self._asked(path, message)
        try:
            return _document(answer.read(_MOST))
        except (OSError, HTTPException, ValueError) as error:
            raise self._left(f"its answer was cut off: {_words(error)}") from None

    def stream(self, path: str, message: Message, headers: Mapping[str, str] = _NONE) -> Iterator[Message]:
        """Ask for answers that come one by one, each waited for as long as the timeout; Unreachable, Rejected."""
        answer = self._asked(path, message, headers)
        while True:
            try:
                line = answer.readline(_MOST)
                document = _document(line) if line else {}
            except (OSError, HTTPException, ValueError) as error:
                raise self._left(f"it has gone silent: {_words(error)}") from None
            if "result" not in document:
                raise self._left(
                    f"it has ended the stream: {_rejected(document)}" if document else "it has ended the stream"
                )
            yield document["result"]

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def leave(self) -> None:
        """Ask another member from now on."""
        self._left("")

    def _left(self, trouble: str) -> Unreachable:
        """Leave a member, so that another is asked next; the error that says why."""
        member = self._members.pop(0)
        self._members.append(member)
        self.close()
        return Unreachable(f"{member}: {trouble}")

    def _asked(self, path: str, message: Message, headers: Mapping[str, str] = _NONE) -> HTTPResponse:
        """The answer of the first member that has one; those before it are asked last from now on."""
        troubles = list[str]()
        for member in list(self._members):
            try:
                answer = self._ask(member, path, message, headers)
                if answer.status == 200:
                    return answer
                rejected = _rejection(answer)
                if rejected.code not in (_UNAVAILABLE, _DEADLINE):
                    raise rejected
                troubles.append(str(self._left(str(rejected))))
            except Unusable as error:
                raise Unreachable(str(error)) from None
            except (OSError, HTTPException, UnicodeError) as error:  # of a name that can be no host's
                troubles.append(str(self._left(self._trouble(member, error))))
        raise Unreachable("; ".join(troubles))

    def _ask(self, member: str, path: str, message: Message, headers: Mapping[str, str]) -> HTTPResponse:
        is_kept = self._connection is not None
        if self._connection is None:
            self._connection = self._connected(member)
        try:
            headers = {"Content-Type": "application/json", **headers}
            asked = time.time()
            self._connection.request("POST", f"/v3/{path}", json.dumps(message), headers)
            answer = self._connection.getresponse()
            self.ahead = _ahead(asked, answer.headers.get("Date", ""), time.time())
            return answer
        except (OSError, HTTPException) as error:
            if not is_kept:
                raise _last_word(self._connection, error) from None
        self.close()  # it was closed while nothing was asked
        return self._ask(member, path, message, headers)

    def _trouble(self, member: str, error: Exception) -> str:
        """The reason for which there is no answer of a member, in words."""
        if isinstance(error, ssl.SSLError):
            return self._tls.words(error)
        if isinstance(error, ConnectionResetError | BrokenPipeError) and member.startswith("http:"):
            return "it has hung up, or wants TLS"
        return _words(error)

    def _connected(self, member: str) -> HTTPConnection:
        where = urlsplit(member)
        host, port = where.hostname or "", where.port or _PORT
        if where.scheme == "https":
            return HTTPSConnection(host, port, timeout=self._timeout, context=self._tls.context())
        return HTTPConnection(host, port, timeout=self._timeout)


def _ahead(asked: float, date: str, answered: float) -> float:
    """Seconds that a clock is at least ahead of another (or, below 0, behind), which told whole seconds in between."""
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return 0.0
    return max(0.0, asked - (told + 1)) + min(0.0, answered - told)


def _last_word(connection: HTTPConnection, error: Exception) -> Exception:
    """The alert with which a member has hung up, whatever came to the request that was under way.

    It looks at the certificate of this host when the connection is made by what we know (TLS 1.3).
    """
    try:
        if isinstance(connection.sock, ssl.SSLSocket):
            connection.sock.recv(1)
    except OSError as alert:
        return alert
    return error


def _rejection(answer: HTTPResponse) -> Rejected:
    """The reason that an answer gives for being none; OSError, HTTPException."""
    words = answer.read(_MOST)
    try:
        return _rejected(_document(words))
    except ValueError:  # a proxy's, or the gateway is switched off
        return Rejected(-1, f"HTTP {answer.status} {answer.reason}: it speaks no JSON, so it may not be etcd's gateway")


def _document(data: bytes) -> Message:
    """An answer of the gateway; ValueError: it is no such."""
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("it is no answer of etcd's gateway")
    return document


def _rejected(document: Message) -> Rejected:
    """The error that an answer is, or has in it, as a stream's."""
    error = document.get("error")
    error = error if isinstance(error, dict) else document
    codes = (error[name] for name in ("code", "grpc_code") if name in error)
    return Rejected(next(codes, -1), str(error.get("message", error)))


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
