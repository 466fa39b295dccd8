"""Pings to a receiver, one after another over one connection: GET, or POST if the ping has a string.

Each URL gets a verdict. If the receiver itself fails, it gets one verdict, and the remaining pings are not sent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected
from typing import Any

from jobqueued import __version__
from jobqueued.child.notifier import network, webhook
from jobqueued.child.notifier.network import Address
from jobqueued.child.notifier.notice import Later, Never, NoticeToSend

_ANSWER_SECONDS = 10.0
_READ = 1 << 16
"""If an answer has more bytes than this, the connection is not reused."""
_AWAY = 500
"""Lowest HTTP status that is about the server, not about the URL."""


def send(notice: NoticeToSend) -> None:
    """Send all pings, and save a verdict on each in the notice's `parts`. Raises Later or Never about the rest."""
    connection: HTTPConnection | None = None
    try:
        for ping in notice.event["pings"]:
            where = network.address(notice, ping["url"], webhook.PORTS)
            until = ping.get("until")
            if until is not None and until < time.monotonic():
                raise Later("it expired before it could be sent")
            if connection is None:
                connection = _connection(notice, where)
            try:
                response = _answer(notice, connection, where, ping)
                webhook.judge(notice, where, response)
            except (Later, Never) as verdict:
                if response.status >= _AWAY:
                    raise
                notice.parts.append((ping["number"], verdict))
            except HTTPException as error:
                raise Later(f"{where}: the answer is not HTTP: {type(error).__name__}") from None
            except OSError as error:
                raise network.trouble(where, error, _seconds(notice)) from None
            else:
                notice.parts.append((ping["number"], None))
            if len(response.read(_READ)) == _READ:
                connection.close()
    finally:
        if connection is not None:
            connection.close()


def _seconds(notice: NoticeToSend) -> float:
    """Return the maximum time (s) for an answer."""
    return min(_ANSWER_SECONDS, notice.seconds)


def _connection(notice: NoticeToSend, where: Address) -> HTTPConnection:
    seconds = _seconds(notice)
    if where.scheme == "https":
        return HTTPSConnection(where.host, where.port, timeout=seconds, context=network.trusted())
    return HTTPConnection(where.host, where.port, timeout=seconds)


def _answer(notice: NoticeToSend, connection: HTTPConnection, where: Address, ping: Mapping[str, Any]) -> HTTPResponse:
    """Send a request. Repeat the request once if the receiver closed a reused connection."""
    headers = {"User-Agent": f"jobqueued/{__version__}", **webhook.authorization(notice, where)}
    body = ping["body"]
    method, content = ("GET", None) if body is None else ("POST", body.encode(errors="replace"))
    is_used = connection.sock is not None
    for is_last in (not is_used, True):
        try:
            connection.request(method, where.path, content, headers)
            return connection.getresponse()
        except (RemoteDisconnected, ConnectionError):
            connection.close()
            if is_last:
                raise
    raise AssertionError
