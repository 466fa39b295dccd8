"""The part of HTTP/1.1 that etcd's gateway needs, over a connection. http.client would need 2 MiB more memory.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping

from jobqueued.child.contract.tuples import NamedTuple

_LONGEST_LINE, _MOST_FIELDS = 16 << 10, 100
_PIECE = 1 << 16
_NUMBER = {10: re.compile("[0-9]{1,15}"), 16: re.compile("[0-9A-Fa-f]{1,15}")}


class Garbled(Exception):
    """An answer is not HTTP, or exceeds a limit."""


class ResponseHead(NamedTuple):
    """An answer's head: its status, and the server's clock."""

    status: int
    reason: str
    date: str


class Connection:
    """A connection to a server. All methods raise OSError and Garbled.

    `timeout`: limit (s) for each step: connect, send a request, receive a head, and receive the next part of a body.
    `is_kept`: whether another request can be sent: the last answer was read completely, and both sides keep the
    connection open.
    """

    def __init__(self, host: str, port: int, timeout: float, tls: ssl.SSLContext | None) -> None:
        self._name, self._timeout = f"[{host}]:{port}" if ":" in host else f"{host}:{port}", timeout
        self._deadline: float | None = None
        self._received, self._line_so_far = bytearray(), bytearray()
        self._body: Iterator[bytes] = iter(())
        self.is_kept = False
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            with self.socket:  # after success, the new socket owns the descriptor
                self.socket = tls.wrap_socket(self.socket, server_hostname=host)

    def post(self, path: str, body: bytes, fields: Mapping[str, str]) -> ResponseHead:
        """Send a request and return the head of its answer."""
        self.is_kept = False
        own = {"Host": self._name, "Content-Type": "application/json", "Content-Length": len(body), **fields}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items()), "\r\n"]
        self.socket.settimeout(self._timeout)
        self.socket.sendall("\r\n".join(lines).encode() + body)
        self._deadline = time.monotonic() + self._timeout
        version, status, reason = f"{self._line()}  ".split(" ", 2)
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise Garbled(f"it does not speak HTTP: {version[:20]!r}")
        found = self._fields()
        self._deadline = None
        self._body = self._pieces(found, is_kept=version == "HTTP/1.1" and found.get("connection", "") != "close")
        return ResponseHead(_number(status), reason.strip(), found.get("date", ""))

    def read(self, most: int) -> bytes:
        """Return the body of the answer. Raises Garbled if the body is longer than `most` bytes."""
        found = bytearray()
        for piece in self._body:
            found += piece
            if len(found) > most:
                raise Garbled(f"it is longer than {most} bytes")
        return bytes(found)

    def readline(self, most: int) -> bytes:
        """Return the next line of the body, or b"" at its end."""
        looked = 0
        while (end := self._line_so_far.find(b"\n", looked) + 1) == 0:
            if (looked := len(self._line_so_far)) > most:
                raise Garbled(f"a line of the reply is longer than {most} bytes")
            if not (piece := next(self._body, b"")):
                end = looked
                break
            self._line_so_far += piece
        line = bytes(self._line_so_far[:end])
        del self._line_so_far[:end]
        return line

    def _pieces(self, fields: Mapping[str, str], *, is_kept: bool) -> Iterator[bytes]:
        """Yield the pieces of an answer's body as they arrive. `fields`: the answer's header fields."""
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while size := _number(self._line().partition(";")[0].strip(), 16):
                yield from self._bytes(size)
                if self._line():
                    raise Garbled("a chunk is longer than its header says")
            self._fields()
        else:
            yield from self._bytes(_number(fields.get("content-length", "")))
        self.is_kept = is_kept

    def _fields(self) -> dict[str, str]:
        """Read header fields up to the empty line that follows them."""
        found = dict[str, str]()
        for _ in range(_MOST_FIELDS):
            if not (line := self._line()):
                return found
            name, _, value = line.partition(":")
            found[name.lower()] = value.strip()
        raise Garbled("its head has no end")

    def _line(self) -> str:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > _LONGEST_LINE:
                raise Garbled("a line of its head has no end")
            self._receive()
        line = self._received[:end].decode("latin-1").rstrip("\r")
        del self._received[: end + 1]
        return line

    def _bytes(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._received:
                self._receive()
            piece = bytes(self._received[:size])
            del self._received[: len(piece)]
            size -= len(piece)
            yield piece

    def _receive(self) -> None:
        left = self._timeout if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        data = self.socket.recv(_PIECE)
        if not data:
            raise ConnectionResetError("it closed the connection")
        self._received += data


def _number(text: str, base: int = 10) -> int:
    if not _NUMBER[base].fullmatch(text):
        raise Garbled(f"it sent {text[:20]!r} instead of a number")
    return int(text, base)
