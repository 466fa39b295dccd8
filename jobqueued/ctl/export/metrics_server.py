"""An HTTP server for metrics."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import click

from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable
from jobqueued.metrics.exposition import Told
from jobqueued.metrics.families import FAMILIES, Sample

_CONNECTIONS = 16
_READ, _LONGEST = 5, 30
"""Idle timeout of a client, and maximum duration of a connection (s)."""
_NO_LIBRARY = "--listen needs prometheus_client; to install it: apt install python3-prometheus-client"


class _Collector:
    """All metrics in prometheus_client's format, read at each scrape. Only one scrape at a time calls the daemon."""

    def __init__(self, families: Callable[[], list[Told]]) -> None:
        self._families, self._turn = families, threading.Lock()

    def collect(self) -> Iterator[Any]:
        """Yield all families in prometheus_client's format."""
        from prometheus_client import Metric

        for family, pieces in self._current_families():
            metric = Metric(family.name, family.help, family.kind)
            for sample in (each._asdict() for piece in pieces for each in piece):
                metric.add_sample(family.name + sample["suffix"], sample["labels"], sample["value"])
            yield metric

    def _current_families(self) -> list[Told]:
        try:
            with self._turn:
                told = self._families()
        except (DaemonUnreachable, CallRefused) as error:
            click.echo(f"no metrics: {error.format_message()}", err=True)
            told = []
        return [(FAMILIES["jobqueue_up"], [[Sample("", {}, int(bool(told)))]]), *told]


class _Server(ThreadingMixIn, WSGIServer):
    """An HTTP server that limits the number and the duration of connections, so that no client can block it."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind the address without a DNS lookup, which may take a long time."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a separate thread, or close it if there are too many connections."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and end it after the time limit."""
        end = threading.Timer(_LONGEST, _cut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print only bugs; ignore clients that disconnected or exceeded a limit."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    timeout = _READ

    def address_string(self) -> str:
        """Return the client's address without a DNS lookup."""
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""


def serve(families: Callable[[], list[Told]], host: str, port: int) -> None:
    """Serve scrapes of `families` until a signal ends the server. Raises DaemonUnreachable if it can't start."""
    try:
        from prometheus_client import CollectorRegistry, make_wsgi_app
    except ImportError:
        raise DaemonUnreachable(_NO_LIBRARY) from None
    registry = CollectorRegistry()
    registry.register(_Collector(families))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = _Server(host, port)
    except OSError as error:
        raise DaemonUnreachable(f"cannot listen on {host}, port {port}: {error.strerror}") from None
    with server:
        server.set_app(make_wsgi_app(registry))
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"listening on http://{shown}:{server.server_port}/metrics", err=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
