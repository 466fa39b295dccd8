"""Metrics by HTTP, for whoever scrapes them."""

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

from jobqueued.ctl.client import Refused, Unreachable
from jobqueued.metrics.exposition import Told
from jobqueued.metrics.families import FAMILIES, Sample

_CONNECTIONS = 16
_READ, _LONGEST = 5, 30
"""Seconds that a client may keep silent, and that it may take in all."""
_NO_LIBRARY = "--listen needs prometheus_client; to install it: apt install python3-prometheus-client"


class _Collector:
    """All metrics as prometheus_client wants them, at each scrape; the daemon is asked by one at a time."""

    def __init__(self, families: Callable[[], list[Told]]) -> None:
        self._families, self._turn = families, threading.Lock()

    def collect(self) -> Iterator[Any]:
        """Yield all families, as prometheus_client has them."""
        from prometheus_client import Metric

        for family, pieces in self._told():
            metric = Metric(family.name, family.help, family.kind)
            for sample in (each._asdict() for piece in pieces for each in piece):
                metric.add_sample(family.name + sample["suffix"], sample["labels"], sample["value"])
            yield metric

    def _told(self) -> list[Told]:
        try:
            with self._turn:
                told = self._families()
        except (Unreachable, Refused) as error:
            click.echo(f"no metrics: {error.format_message()}", err=True)
            told = []
        return [(FAMILIES["jobqueue_up"], [[Sample("", {}, int(bool(told)))]]), *told]


class _Server(ThreadingMixIn, WSGIServer):
    """A server to which nobody can do harm: the connections and their time are limited."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Take the address; nobody's name is looked up, as that may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there is room."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection; whoever takes too long is cut off."""
        end = threading.Timer(_LONGEST, _cut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client go that has hung up or was cut off; only a bug is told."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    timeout = _READ

    def address_string(self) -> str:
        """Name the client without asking a name server."""
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of what goes well."""


def serve(families: Callable[[], list[Told]], host: str, port: int) -> None:
    """Serve scrapes of what `families` tells until a signal ends it; Unreachable: that can't be."""
    try:
        from prometheus_client import CollectorRegistry, make_wsgi_app
    except ImportError:
        raise Unreachable(_NO_LIBRARY) from None
    registry = CollectorRegistry()
    registry.register(_Collector(families))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server = _Server(host, port)
    except OSError as error:
        raise Unreachable(f"cannot listen on {host}, port {port}: {error.strerror}") from None
    with server:
        server.set_app(make_wsgi_app(registry))
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"listening on http://{shown}:{server.server_port}/metrics", err=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
