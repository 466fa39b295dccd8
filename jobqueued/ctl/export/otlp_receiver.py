"""The client for a receiver of spans: OTLP over HTTP, with retries if the receiver fails temporarily.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep
from urllib.parse import unquote, urlsplit

import click

from jobqueued import __version__
from jobqueued.base.text import printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.export.otlp import ExportRequest

_PORTS = {"http": 80, "https": 443}
_PATH = "/v1/traces"
_SILENCE, _LONGEST = 10, 60
"""Maximum silence of a receiver, and maximum duration of a request (s)."""
_PASSING = frozenset({429, 502, 503, 504})
_TRIES, _LONGEST_WAIT = 5, 60
"""Maximum number of tries for a request, and the longest Retry-After (s) that the client respects."""
_ANSWER, _QUOTED = 1 << 16, 300
_REMEDIES = {
    400: "the receiver rejects the request: does it accept OTLP as JSON?",
    401: "set a header in OTEL_EXPORTER_OTLP_HEADERS",
    403: "check OTEL_EXPORTER_OTLP_HEADERS",
    404: f"check the path: it is usually {_PATH}",
    405: f"check the path: it is usually {_PATH}",
    413: "raise the receiver's limit: a request has about 1 MiB",
    415: "the receiver does not accept JSON: enable OTLP/HTTP with JSON",
}


class NotTaken(Exception):
    """Raised if a request failed; the message contains the URL, the cause and the remedy."""


class Url(NamedTuple):
    """The URL of a receiver; str() contains no secret."""

    scheme: str
    host: str
    port: int
    path: str
    authorization: str | None

    @classmethod
    def parse(cls, text: str) -> Url:
        """Parse a URL; add OTLP's path to a URL without a path. Raises ValueError."""
        try:
            parts = urlsplit(text)
            port, host = parts.port or _PORTS[parts.scheme], parts.hostname
        except (ValueError, KeyError):
            host = None
        if not host or not re.fullmatch("[!-~]+", text):
            raise ValueError(f"expected http://HOST:PORT{_PATH}, or https://")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        both = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        basic = f"Basic {base64.b64encode(both).decode()}" if parts.username is not None else None
        return cls(parts.scheme, host, port, path if path not in ("", "/") else _PATH, basic)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def headers(text: str) -> dict[str, str]:
    """Parse OTEL_EXPORTER_OTLP_HEADERS: ``name=value,…``, with values encoded as in URLs. Raises ValueError."""
    found = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        name, is_one, value = pair.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not is_one or not name.isascii() or not name.replace("-", "").isalnum() or not value.isprintable():
            raise ValueError("expected NAME=VALUE, or several separated by commas, such as authorization=Bearer%20…")
        found[name] = value.encode().decode("latin-1")
    return found


class Receiver:
    """A connection to a receiver; it reconnects if the receiver closed the connection."""

    def __init__(self, url: Url, own: dict[str, str]) -> None:
        self._url, self._connection = url, _connection(url)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"jobqueued/{__version__}",
            **({"Authorization": url.authorization} if url.authorization else {}),
            **own,
        }
        self._was_used = self._was_odd = False

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def take(self, batch: ExportRequest) -> int:
        """Send a request, and return the number of refused spans. Raises NotTaken."""
        for attempt in range(1, _TRIES + 1):
            status, reason, wait, body = self._answer(batch.text.encode())
            if 200 <= status < 300:
                return self._refused(status, body)
            said = f"{self._url} answered {status} {printable(reason)}".rstrip() + _quoted(body)
            if status not in _PASSING:
                raise NotTaken(f"{said}; {_remedy(status)}")
            seconds = 1 << (attempt - 1) if wait is None else wait
            if attempt == _TRIES or seconds > _LONGEST_WAIT:
                later = f"in {seconds} s" if seconds > _LONGEST_WAIT else "later"
                raise NotTaken(f"{said}; try again {later}")
            click.echo(f"{said}; trying again in {seconds} s", err=True)
            sleep(seconds)
        raise AssertionError("the last try returns or raises")

    def _answer(self, content: bytes) -> tuple[int, str, int | None, bytes]:
        """Send a request, and return the reply's status, reason, Retry-After (s) and body.

        Reconnects once if the receiver closed a used connection. Raises NotTaken.
        """
        try:
            return self._asked(content)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if not self._was_used or isinstance(error, TimeoutError):
                raise NotTaken(_trouble(self._url, error)) from None
        self._was_used = False
        try:
            return self._asked(content)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NotTaken(_trouble(self._url, error)) from None

    def _asked(self, content: bytes) -> tuple[int, str, int | None, bytes]:
        connection = self._connection
        with _cut_after(_LONGEST, connection):
            connection.request("POST", self._url.path, content, self._headers)
            with connection.getresponse() as response:
                body = response.read(_ANSWER)
                if not response.isclosed():
                    if response.length and len(body) < _ANSWER:
                        raise http.client.IncompleteRead(body, response.length)
                    connection.close()
        self._was_used = True
        wait = response.headers.get("Retry-After", "")
        return response.status, response.reason, int(wait[:9]) if wait.isdecimal() else None, body

    def _refused(self, status: int, body: bytes) -> int:
        """Return the number of refused spans in the reply to an accepted request, and print a warning on stderr."""
        answer = _json(body)
        if answer is None and body.strip() and not self._was_odd:
            self._was_odd = True
            click.echo(
                f"Warning: {self._url} answered {status}, but not with OTLP{_quoted(body)}; does the URL "
                "lead to an OTLP receiver?",
                err=True,
            )
        partial = (answer or {}).get("partialSuccess")
        if not isinstance(partial, dict):
            return 0
        number, why = str(partial.get("rejectedSpans", 0)), str(partial.get("errorMessage") or "")
        refused = int(number[:9]) if number.isdecimal() else 0
        if refused or why:
            what = f"refused {refused} spans" if refused else "accepted all spans of a request, with a warning"
            click.echo(f"Warning: {self._url} {what}: {_line(why) or 'no reason was given'}", err=True)
        return refused


@contextmanager
def _cut_after(seconds: float, connection: http.client.HTTPConnection) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer than `seconds`, even while a slow reply arrives."""
    cut = threading.Event()

    def shut() -> None:
        cut.set()
        with suppress(OSError):
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if cut.is_set():
            raise TimeoutError


def _connection(url: Url) -> http.client.HTTPConnection:
    if url.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(url.host, url.port, timeout=_SILENCE, context=context)
    return http.client.HTTPConnection(url.host, url.port, timeout=_SILENCE)


def _remedy(status: int) -> str:
    if 300 <= status < 400:
        return "the URL redirects, and redirects are not followed; use the final URL"
    return _REMEDIES.get(status, "check the receiver's log")


def _trouble(url: Url, error: OSError | http.client.HTTPException) -> str:
    """Describe a connection error, with a remedy."""
    if isinstance(error, ssl.SSLCertVerificationError):
        trust = "copy its CA certificate into /usr/local/share/ca-certificates and run update-ca-certificates"
        return f"{url}: its certificate is refused: {error.verify_message}; {trust}"
    if isinstance(error, ssl.SSLError):
        return f"{url}: TLS failed: {error.reason or error}; does the receiver use http instead?"
    if isinstance(error, TimeoutError):
        return f"{url}: no complete answer in time; is it an OTLP receiver?"
    if isinstance(error, ConnectionRefusedError):
        return f"{url}: connection refused; is a receiver running there?  OTLP over HTTP usually uses port 4318"
    if isinstance(error, http.client.HTTPException | ConnectionError):
        return f"{url}: it closed the connection, or does not use HTTP; usually port 4318 is HTTP, 4317 is gRPC"
    return f"{url}: {error.strerror or error}; check the URL"


def _json(body: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _quoted(body: bytes) -> str:
    """Return ``: text`` with the message in a JSON Status or the body's first line, or "" for an empty body."""
    answer = _json(body)
    said = str(answer.get("message") or "") if answer is not None else body.decode(errors="replace")
    return f": {line}" if (line := _line(said)) else ""


def _line(text: str) -> str:
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return printable(first[:_QUOTED])[:_QUOTED]
