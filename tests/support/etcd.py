"""A real etcd of a test, on loopback, with one member."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.host import wait_for


@contextlib.contextmanager
def etcd(directory: Path) -> Iterator[str]:
    """The address at which it takes calls."""
    program = shutil.which("etcd")
    assert program is not None, "apt install etcd-server"
    clients, peers = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, "--data-dir", directory / "data", "--name", "one", "--listen-client-urls", clients,
             "--advertise-client-urls", clients, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
             "--initial-cluster", f"one={peers}", "--unsafe-no-fsync"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for(lambda: _listens(clients) or server.poll() is not None, why="etcd")
        assert server.poll() is None, (directory / "log").read_text()[-2000:]
        yield clients
    finally:
        server.kill()
        server.wait()


def _free_ports(count: int) -> list[int]:
    """Ports at which nobody listens by now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _listens(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
        return True
    return False
