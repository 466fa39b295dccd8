"""jobqueuectl metrics: figures of the daemon, its queue and its jobs, for Prometheus and its kind."""

from __future__ import annotations

import ipaddress
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import click

from jobqueued.ctl.client import Refused, Unreachable, ask
from jobqueued.ctl.terminal import json_option, print_json
from jobqueued.metrics.exposition import Told, text
from jobqueued.metrics.families import FAMILIES, Family, Sample
from jobqueued.metrics.readings import of_usage
from jobqueued.paths import Paths

_CONNECTIONS = 16
_READ, _LONGEST = 5, 30
"""Seconds that a client may keep silent, and that it may take in all."""
_NO_LIBRARY = "--listen needs prometheus_client; to install it: apt install python3-prometheus-client"


def _address(_context: click.Context, _parameter: click.Parameter, given: str | None) -> tuple[str, int] | None:
    """Read where to listen; a port alone is one on loopback."""
    if given is None:
        return None
    host, _, port = given.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        accepted = "a port such as 9753, or an address with one: 192.0.2.7:9753, [::]:9753"
        raise click.BadParameter(f"{given!r}; accepted: {accepted}") from None


@click.command()
@json_option
@click.option("--usage", is_flag=True, help="Also measure what live runs use, by job; that takes 0.3 s.")
@click.option("--listen", metavar="[ADDRESS:]PORT", callback=_address, help="Serve them by HTTP, in the foreground; "
              "without ADDRESS to this host only.")  # fmt: skip
@click.pass_obj
def metrics(paths: Paths, as_json: bool, usage: bool, listen: tuple[str, int] | None) -> None:
    """Print metrics, or serve them to Prometheus.

    Whoever may read all of the daemon's answers may read them: root, operators and readers (jobqueued.yaml).  With
    --listen everybody who can connect may; there is neither TLS nor a password, so leave it on loopback, or put a
    proxy before it.  While the daemon does not answer, jobqueue_up is 0 and nothing else is told.

    The metrics are explained in /usr/share/doc/jobqueued/metrics.md.

    \b
    Examples:
      jobqueuectl metrics
      jobqueuectl metrics --listen 9753
    """
    if listen is None:
        told = _families(paths, usage=usage)
        if as_json:
            print_json({"families": [{**_described(family), "samples": _samples(pieces)} for family, pieces in told]})
        else:
            sys.stdout.writelines(text(told))
    elif as_json:
        raise click.UsageError("--json and --listen exclude each other")
    else:
        _serve(paths, *listen, usage=usage)


def _families(paths: Paths, *, usage: bool) -> list[Told]:
    """All families as the daemon tells them now; Unreachable, Refused."""
    families = ask(paths.control, "Metrics")["families"]
    told: list[Told] = [
        (Family(each["name"], each["kind"], each["help"]), [[Sample(**sample) for sample in each["samples"]]])
        for each in families
    ]
    return told + (list(of_usage(ask(paths.control, "Usage")["runs"])) if usage else [])


def _described(family: Family) -> dict[str, str]:
    return {"name": family.name, "kind": family.kind, "help": family.help}


def _samples(pieces: Iterable[list[Sample]]) -> list[dict[str, Any]]:
    return [sample._asdict() for piece in pieces for sample in piece]


class _Collector:
    """All metrics as prometheus_client wants them, at each scrape; the daemon is asked by one at a time."""

    def __init__(self, paths: Paths, *, usage: bool) -> None:
        self._paths, self._usage, self._turn = paths, usage, threading.Lock()

    def collect(self) -> Iterator[Any]:
        """Yield all families, as prometheus_client has them."""
        from prometheus_client import Metric

        for family, pieces in self._told():
            metric = Metric(family.name, family.help, family.kind)
            for sample in _samples(pieces):
                metric.add_sample(family.name + sample["suffix"], sample["labels"], sample["value"])
            yield metric

    def _told(self) -> list[Told]:
        try:
            with self._turn:
                told = _families(self._paths, usage=self._usage)
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


def _serve(paths: Paths, host: str, port: int, *, usage: bool) -> None:
    """Serve scrapes until a signal ends it."""
    try:
        from prometheus_client import CollectorRegistry, make_wsgi_app
    except ImportError:
        raise Unreachable(_NO_LIBRARY) from None
    registry = CollectorRegistry()
    registry.register(_Collector(paths, usage=usage))
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
