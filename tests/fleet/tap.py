"""Taps on the connections between hosts and etcd: calls and their answers, as they pass, with their times."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from io import BytesIO

from tests.fleet.history import Exchange

_TOLD = ("/v3/kv/txn", "/v3/lease/grant", "/v3/lease/keepalive", "/v3/lease/revoke")


class Tap:
    """A connection of a host, on the side of etcd: before anything is lost of an answer, or after it was of a question.

    Of each call that counts `tell` gets an exchange.
    """

    def __init__(self, host: str, tell: Callable[[Exchange], None]) -> None:
        self._host, self._tell = host, tell
        self._path = ""
        """That of the call which has no answer yet; "": there is none that counts."""
        self._asked = 0.0
        self._question, self._answer = b"", b""

    def asked(self, head: bytes, body: bytes) -> None:
        """A call is about to be sent to etcd."""
        path = head.split(b" ", 2)[1].decode()
        self._path = path if path in _TOLD else ""
        self._asked, self._question, self._answer = time.monotonic(), body, b""

    def answered(self, data: bytes) -> None:
        """Some more of its answer has come."""
        if not self._path:
            return
        self._answer += data
        if (found := _content(self._answer)) is not None:
            status, content = found
            self._end(content if status == 200 else b"")

    def close(self) -> None:
        """Nothing more comes."""
        if self._path:
            self._end(b"")

    def _end(self, answer: bytes) -> None:
        path, self._path = self._path.removeprefix("/v3/"), ""
        self._tell(Exchange(self._host, path, self._asked, time.monotonic(), self._question, answer))


class _Connection(BytesIO):
    """Bytes as HTTPResponse reads them from a socket."""

    def makefile(self, mode: str) -> _Connection:
        """The bytes."""
        return self


def _content(data: bytes) -> tuple[int, bytes] | None:
    """The status and the content of an answer; None: it is not whole yet."""
    if b"\r\n\r\n" not in data:
        return None
    answer = HTTPResponse(_Connection(data))  # type: ignore[arg-type]
    answer.begin()
    try:
        return answer.status, answer.read()
    except HTTPException:
        return None
