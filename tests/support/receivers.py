"""Receivers of notices on loopback: mail servers and web servers that do what a test wants, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support import REPO

CERTIFICATE = REPO / "tests/fixtures/tls/localhost.pem"
"""For 127.0.0.1, signed by itself, with its key."""


def tls() -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


class MailServer:
    """Takes mails; `faults`: what it answers instead, by command: a line, "hang", or "close"."""

    def __init__(self, **faults: str) -> None:
        self.faults = faults
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []

    @property
    def mails(self) -> list[EmailMessage]:
        """The mails that it has taken."""
        return [message_from_bytes(e.content, policy=default) for e in self.envelopes]  # type: ignore[arg-type,misc]

    async def _fault(self, command: str, server: SMTP) -> str | None:
        fault = self.faults.get(command)
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "close":
            assert server.transport is not None
            server.transport.abort()
        return fault

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if fault := await self._fault("MAIL", server):
            return fault
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if fault := await self._fault("RCPT", server):
            return fault
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if fault := await self._fault("DATA", server):
            return fault
        self.envelopes.append(envelope)
        self.sessions.append(session)
        return "250 OK"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return await self._fault("QUIT", server) or "221 Bye"


class _Controller(Controller):
    """A server at whatever port is free."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def mail_server(server: MailServer, *, password: str = "", refusal: str | None = None, **options: Any) -> Iterator[int]:
    """Run a mail server that wants a password if one is given; its port.

    `refusal`: the answer to a wrong one; `options`: tls_context for STARTTLS, ssl_context for TLS from the start.
    """

    def authenticate(
        _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: LoginPassword
    ) -> AuthResult:
        return AuthResult(success=data.password == password.encode(), handled=False, message=refusal)

    if password:
        options |= {"authenticator": authenticate, "auth_required": True}
    controller = _Controller(server, "127.0.0.1", 0, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


class Request(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class WebServer:
    """Answers with the bytes of `answer`, or what it makes of a request.

    Then it does what `then` says: "close", "hang", or "repeat" the answer.
    """

    def __init__(
        self, answer: bytes | Callable[[Request], bytes], then: str = "close", *, secure: bool = False,
        port: int = 0,
    ) -> None:  # fmt: skip
        self.requests: list[Request] = []
        self.gave_up = threading.Event()
        """Set when whoever asked has hung up on an answer without end."""
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler(answer, then))
        self._server.daemon_threads = True
        if secure:
            self._server.socket = tls().wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> WebServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(web: WebServer, answer: bytes | Callable[[Request], bytes], then: str) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                web.requests.append(Request(self.command, self.path, headers, body))
                self.close_connection = True
                said = answer if isinstance(answer, bytes) else answer(web.requests[-1])
                self.wfile.write(said)
                if then == "hang":
                    web._over.wait()
                try:
                    while then == "repeat" and not web._over.is_set():
                        self.wfile.write(said)
                except OSError:
                    web.gave_up.set()

            do_POST = do_GET = _serve

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of an answer."""
    named = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode() + body
